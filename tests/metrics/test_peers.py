"""All of the default scores against torch-fidelity, prdc and scikit-learn, on sets that are hard in different ways."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prdc import compute_prdc
from sklearn.metrics.pairwise import polynomial_kernel
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric
from torch_fidelity.metric_prc import calculate_precision_recall_full

from ganbench.metrics import (
    density_coverage,
    frechet_distance,
    kernel_distance,
    precision_recall,
    score_all,
    trace_of_covariance,
)

SETS = ("random", "low rank", "duplicated", "small", "fewer rows than features")


def sets(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Continuous features, so that no sample lies on the edge of a ball; copies are of rows of the same set."""
    rng = np.random.default_rng(len(kind))
    n, m, d = {"small": (9, 8, 3), "fewer rows than features": (60, 50, 200)}.get(kind, (240, 200, 24))
    real, fake = rng.normal(size=(n, d)), 0.9 * rng.normal(size=(m, d)) + 0.1
    if kind == "low rank":
        mixing = rng.normal(size=(5, d))
        real, fake = real[:, :5] @ mixing, fake[:, :5] @ mixing
    if kind == "duplicated":
        real[1::2], fake[1::2] = real[::2], fake[::2]
    return real, fake


@pytest.mark.parametrize("kind", SETS)
def test_balls_agree_with_prdc_and_torch_fidelity(kind: str) -> None:
    real, fake = sets(kind)
    with contextlib.redirect_stdout(io.StringIO()):
        three, five = compute_prdc(real, fake, 3), compute_prdc(real, fake, 5)
    precision, recall = calculate_precision_recall_full(torch.from_numpy(fake), torch.from_numpy(real), 3)
    ours = precision_recall(real, fake)
    assert ours == {key: pytest.approx(three[key], rel=1e-12) for key in ("precision", "recall")}
    assert ours == {"precision": pytest.approx(precision, rel=1e-6), "recall": pytest.approx(recall, rel=1e-6)}
    assert density_coverage(real, fake) == {key: pytest.approx(five[key], rel=1e-12) for key in ("density", "coverage")}


@pytest.mark.parametrize("kind", SETS)
def test_distances_agree_with_torch_fidelity_and_scikit_learn(kind: str) -> None:
    real, fake = sets(kind)
    statistics = [fid_features_to_statistics(torch.from_numpy(side)) for side in (real, fake)]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]
    traces = trace_of_covariance(real) + trace_of_covariance(fake)
    regular = kind in ("random", "small")
    assert abs(frechet_distance(real, fake) - theirs) <= (1e-6 if regular else 1e-5) * max(theirs, 1e-3 * traces)
    size = min(len(real), len(fake)) - 1
    found = kid_features_to_metric(
        torch.from_numpy(real), torch.from_numpy(fake), kid_subsets=20, kid_subset_size=size, verbose=False
    )
    assert kernel_distance(real, fake, subsets=20, subset_size=size)[0] == pytest.approx(
        found[KEY_METRIC_KID_MEAN], rel=5e-5
    )
    n = min(len(real), len(fake))
    x, y = real[:n], fake[:n]
    xx, yy, xy = (polynomial_kernel(a, b, degree=3, coef0=1) for a, b in ((x, x), (y, y), (x, y)))
    pairs = n * (n - 1)
    unbiased = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / pairs - 2 * xy.mean()
    assert kernel_distance(x, y)[0] == pytest.approx(unbiased, rel=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(8, 60), st.integers(1, 9))
def test_the_order_of_rows_changes_no_score_and_none_is_out_of_range(seed: int, n: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(n, d)), rng.integers(-2, 3, size=(n, d)) / 2
    probabilities = rng.dirichlet(np.full(4, 0.3), n)
    order = rng.permutation(n)
    first = score_all(real, fake, probabilities)
    second = score_all(rng.permutation(real), fake[order], probabilities[order])
    scale = 1e-9 * (1 + np.square(real).sum(axis=1).max()) ** 3
    for name in ("fid", "kid", "is", "precision", "recall", "density", "coverage"):
        assert second[name] == pytest.approx(first[name], rel=1e-9, abs=scale), name
    assert first["fid"] >= 0 and 1 <= first["is"] <= 4 and first["density"] >= 0
    assert all(0 <= first[name] <= 1 for name in ("precision", "recall", "coverage"))
