"""Scores of generated samples: pure functions on arrays, and the metrics that hand them to the harness.

Everything takes NumPy arrays and returns Python floats, computed in float64 whatever PyTorch's
defaults are. Input without a defined score (too few rows, a value that is not finite) raises
MetricError at once. The functions load when they are first asked for, so that importing this
package does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ganbench.kinds import MetricError, NotApplicable

if TYPE_CHECKING:
    from ganbench.metrics.discrimination import balanced_accuracy, roc_auc
    from ganbench.metrics.frechet import frechet_distance, trace_of_covariance
    from ganbench.metrics.inception import inception_score
    from ganbench.metrics.kernel import kernel_distance
    from ganbench.metrics.manifold import density_coverage, manifold_scores, precision_recall
    from ganbench.metrics.memorization import authenticity
    from ganbench.metrics.modes import class_coverage, mode_coverage

__all__ = [
    "MetricError",
    "NotApplicable",
    "authenticity",
    "balanced_accuracy",
    "class_coverage",
    "density_coverage",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "manifold_scores",
    "mode_coverage",
    "precision_recall",
    "roc_auc",
    "trace_of_covariance",
]

_HOMES = {
    "authenticity": "memorization",
    "balanced_accuracy": "discrimination",
    "class_coverage": "modes",
    "density_coverage": "manifold",
    "frechet_distance": "frechet",
    "inception_score": "inception",
    "kernel_distance": "kernel",
    "manifold_scores": "manifold",
    "mode_coverage": "modes",
    "precision_recall": "manifold",
    "roc_auc": "discrimination",
    "trace_of_covariance": "frechet",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
