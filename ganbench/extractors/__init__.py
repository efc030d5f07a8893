"""The extractors that ship with ganbench: what turns images and points into features and class probabilities.

A new feature network belongs here; scores computed from features belong in ``metrics``.
"""

from __future__ import annotations

from pathlib import Path

from ganbench.plugin.interfaces import Extractor
from ganbench.utils.errors import UsageError


def with_weights(extractor: Extractor, path: Path) -> Extractor:
    """``extractor.with_weights(path)``: the same extractor with other weights, under another name.

    Raises:
        UsageError: it has no such method, or the file cannot be read.
    """
    if not hasattr(extractor, "with_weights"):
        raise UsageError(f"--weights {path}: extractor {extractor.name} takes no weights; inception-v3 does")
    changed: Extractor = extractor.with_weights(path)
    return changed


class Unfit(UsageError):
    """An extractor that learns from a dataset cannot learn from this one. The message says why."""
