"""Imported by the forkserver alone: it becomes the parent of what a job leaves behind, so that it is found."""

import warnings

from ganbench.utils.signals import adopt_orphans

adopt_orphans()
warnings.filterwarnings("ignore", message="forkserver: waitpid returned unexpected pid")  # it is such an orphan
