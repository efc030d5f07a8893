"""Scores of generated samples: pure functions on arrays, and the metrics that hand them to the harness.

Everything takes NumPy arrays and returns Python floats, computed in float64 whatever PyTorch's
defaults are. Input without a defined score (too few rows, a value that is not finite) raises
MetricError at once. The functions load when they are first asked for, so that importing this
package does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ganbench.plugin.interfaces import MetricError, NotApplicable

if TYPE_CHECKING:
    from ganbench.metrics.all_scores import score_all
    from ganbench.metrics.bins import different_bins
    from ganbench.metrics.clipped import clipped_coverage, clipped_density
    from ganbench.metrics.clusters import prd_curve, prd_scores
    from ganbench.metrics.conditional import classification_accuracy, intra_class_frechet_distance
    from ganbench.metrics.copying import data_copying
    from ganbench.metrics.discrepancy import gaussian_mmd
    from ganbench.metrics.discrimination import balanced_accuracy, roc_auc
    from ganbench.metrics.diversity import rke_score, vendi_score
    from ganbench.metrics.duality import duality_gap
    from ganbench.metrics.duplicates import near_duplicates
    from ganbench.metrics.extrapolation import frechet_distance_infinity
    from ganbench.metrics.frechet import frechet_distance, trace_of_covariance
    from ganbench.metrics.inception import inception_score
    from ganbench.metrics.intervals import bootstrap
    from ganbench.metrics.kernel import kernel_distance
    from ganbench.metrics.likelihood import feature_likelihood_divergence
    from ganbench.metrics.manifold import density_coverage, manifold_scores, precision_recall
    from ganbench.metrics.memorization import authenticity, memorization_informed_frechet_distance
    from ganbench.metrics.modes import class_coverage, mode_coverage, recovered_mass
    from ganbench.metrics.numerics.feature_set import FeatureSet, features_of
    from ganbench.metrics.probabilistic import probabilistic_precision_recall
    from ganbench.metrics.probing import linear_probe
    from ganbench.metrics.similarity import ms_ssim, similarities
    from ganbench.metrics.slicing import sliced_wasserstein
    from ganbench.metrics.smoothness import path_steps
    from ganbench.metrics.two_sample import nearest_neighbour_accuracy

__all__ = [
    "FeatureSet",
    "MetricError",
    "NotApplicable",
    "authenticity",
    "balanced_accuracy",
    "bootstrap",
    "class_coverage",
    "classification_accuracy",
    "clipped_coverage",
    "clipped_density",
    "data_copying",
    "density_coverage",
    "different_bins",
    "duality_gap",
    "feature_likelihood_divergence",
    "features_of",
    "frechet_distance",
    "frechet_distance_infinity",
    "gaussian_mmd",
    "inception_score",
    "intra_class_frechet_distance",
    "kernel_distance",
    "linear_probe",
    "manifold_scores",
    "memorization_informed_frechet_distance",
    "mode_coverage",
    "ms_ssim",
    "near_duplicates",
    "nearest_neighbour_accuracy",
    "path_steps",
    "prd_curve",
    "prd_scores",
    "precision_recall",
    "probabilistic_precision_recall",
    "recovered_mass",
    "rke_score",
    "roc_auc",
    "score_all",
    "similarities",
    "sliced_wasserstein",
    "trace_of_covariance",
    "vendi_score",
]

_HOMES = {
    "FeatureSet": "numerics.feature_set",
    "authenticity": "memorization",
    "balanced_accuracy": "discrimination",
    "bootstrap": "intervals",
    "class_coverage": "modes",
    "classification_accuracy": "conditional",
    "clipped_coverage": "clipped",
    "clipped_density": "clipped",
    "data_copying": "copying",
    "density_coverage": "manifold",
    "different_bins": "bins",
    "duality_gap": "duality",
    "feature_likelihood_divergence": "likelihood",
    "features_of": "numerics.feature_set",
    "frechet_distance": "frechet",
    "frechet_distance_infinity": "extrapolation",
    "gaussian_mmd": "discrepancy",
    "inception_score": "inception",
    "intra_class_frechet_distance": "conditional",
    "kernel_distance": "kernel",
    "linear_probe": "probing",
    "manifold_scores": "manifold",
    "memorization_informed_frechet_distance": "memorization",
    "mode_coverage": "modes",
    "recovered_mass": "modes",
    "ms_ssim": "similarity",
    "near_duplicates": "duplicates",
    "nearest_neighbour_accuracy": "two_sample",
    "path_steps": "smoothness",
    "prd_curve": "clusters",
    "prd_scores": "clusters",
    "precision_recall": "manifold",
    "probabilistic_precision_recall": "probabilistic",
    "rke_score": "diversity",
    "roc_auc": "discrimination",
    "score_all": "all_scores",
    "similarities": "similarity",
    "sliced_wasserstein": "slicing",
    "trace_of_covariance": "frechet",
    "vendi_score": "diversity",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
