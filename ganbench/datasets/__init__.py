"""Built-in datasets: points of known distribution, handwritten digits, and image sets read from IDX files."""

from __future__ import annotations

from ganbench.utils.errors import UsageError


class DatasetError(UsageError):
    """A dataset is not at hand, or its files are not what they should be. The message says what to do."""
