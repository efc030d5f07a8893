"""What is scored, and with which features, where the user did not say."""

from __future__ import annotations

from ganbench.plugin.interfaces import Dataset

POINT_METRICS = ("coverage", "modes", "high_quality", "mode_kl", "precision", "recall", "density", "d_auc")


IMAGE_METRICS = ("fid", "is", "kid", "precision", "recall", "density", "coverage", "authenticity", "d_auc")


def default_metrics(dataset: Dataset) -> tuple[str, ...]:
    """What is computed without ``--metrics``."""
    if len(dataset.shape) == 1:
        return POINT_METRICS
    counted = ("modes",) if dataset.primary == "modes" else ()
    return (*counted, *IMAGE_METRICS, *(("mode_kl",) if dataset.classes else ()))


def default_extractor(dataset: Dataset) -> str:
    """Points are their own features; an image set has the classifier trained on it, ``<dataset>-cnn``."""
    return "identity" if len(dataset.shape) == 1 else f"{dataset.name}-cnn"
