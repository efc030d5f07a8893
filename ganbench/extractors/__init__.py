"""The feature extractors that ship with ganbench: from images or points to features and class probabilities.

A new feature network belongs here; scores computed from features belong in ``metrics``.
"""

from __future__ import annotations

from ganbench.utils.errors import UsageError


class Unfit(UsageError):
    """An extractor that learns from a dataset cannot learn from this one. The message says why."""
