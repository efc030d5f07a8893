"""The datasets that ship with ganbench and the reading of pictures and arrays.

A new dataset belongs here. What the trial makes of one (splits on a device, features) belongs in ``harness``.
"""

from __future__ import annotations

from ganbench.utils.errors import UsageError


class DatasetError(UsageError):
    """A dataset is not at hand, or its files are not what they should be. The message says what to do."""
