"""What is scored, and with which features, where the user did not say."""

from __future__ import annotations

from ganbench.plugin.interfaces import Dataset

# Evaluations before the last score a quarter of the images, if these are at least 20 rows a feature.
CURVE_SHARE, CURVE_ROWS = 4, 20
POINT_METRICS = (
    "recovered_mass",
    "modes",
    "high_quality",
    "mode_kl",
    "coverage",
    "precision",
    "recall",
    "density",
    "d_auc",
)
IMAGE_METRICS = ("fid", "is", "kid", "precision", "recall", "density", "coverage", "authenticity", "d_auc")


def default_metrics(dataset: Dataset) -> tuple[str, ...]:
    """What is computed without ``--metrics``."""
    if len(dataset.shape) == 1:
        return POINT_METRICS
    counted = ("mode_kl", "modes") if counts_modes(dataset) else ()
    return (*counted, *IMAGE_METRICS, *(("mode_kl",) if dataset.classes and not counted else ()))


def counts_modes(dataset: Dataset) -> bool:
    """Whether images are ranked by the classes that they reach, which takes many more samples than FID does."""
    return dataset.primary in ("modes", "mode_kl")


def default_curve_samples(dataset: Dataset, samples: int, features: int) -> int:
    """How many samples the evaluations before the last score without ``--curve-samples``.

    Fewer for images where many remain, since those evaluations draw curves and decide a verdict, and the last one gives
    the scores. As many for points, for small sets, and where modes are counted, whose number depends on how many.
    """
    fewer = samples // CURVE_SHARE
    images = len(dataset.shape) == 3 and not counts_modes(dataset)
    return fewer if images and fewer >= CURVE_ROWS * features else samples


def default_extractor(dataset: Dataset) -> str:
    """Points are their own features; an image set has the classifier trained on it, ``<dataset>-cnn``."""
    return "identity" if len(dataset.shape) == 1 else f"{dataset.name}-cnn"
