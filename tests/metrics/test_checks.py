"""What every score must do with input that has no score, and leave alone."""

from __future__ import annotations

import math
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import ganbench.metrics as metrics
from ganbench.metrics import discrimination, frechet, inception, kernel, manifold, memorization, modes
from ganbench.plugin.interfaces import Metric

SCORES = {
    "frechet": lambda real, fake: frechet.frechet_distance(real, fake),
    "kernel": lambda real, fake: kernel.kernel_distance(real, fake)[0],
    "precision": lambda real, fake: metrics.precision_recall(real, fake)["precision"],
    "density": lambda real, fake: metrics.density_coverage(real, fake)["density"],
    "manifold": lambda real, fake: metrics.manifold_scores(real, fake)["coverage"],
    "authenticity": lambda real, fake: metrics.authenticity(fake, real),
    "modes": lambda real, fake: metrics.mode_coverage(fake, real, 0.1)["mode_kl"],
    "fid_inf": lambda real, fake: metrics.frechet_distance_infinity(real, fake, points=4),
    "sliced_wasserstein": lambda real, fake: metrics.sliced_wasserstein(real, fake, 20),
    "prd": lambda real, fake: metrics.prd_scores(real, fake, runs=1)["prd"],
    "near_duplicates": lambda real, fake: metrics.near_duplicates(real, fake),
}

GOOD = np.random.default_rng(0).normal(size=(400, 32))


def spoiled(value: float) -> np.ndarray:
    values = GOOD.copy()
    values[17, 3] = value
    return values


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES.keys())
@pytest.mark.parametrize("value", [np.nan, 1e41])
def test_one_bad_value_is_an_error_at_once(score, value):
    for real, fake in ((GOOD, spoiled(value)), (spoiled(value), GOOD)):
        start = time.perf_counter()
        with pytest.raises(metrics.MetricError, match=r"not finite|overflow"):
            score(real, fake)
        assert time.perf_counter() - start < 1.0


DEGENERATE = {
    "constant": np.ones((400, 32)),
    "zeros": np.zeros((400, 32)),
    "two points": np.repeat(GOOD[:2], 200, axis=0),
    "one huge value": spoiled(1e30),
    "all huge": 1e30 * GOOD,
    "all tiny": 1e-30 * GOOD,
    "copies": GOOD,
}


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES.keys())
@pytest.mark.parametrize("values", DEGENERATE.values(), ids=DEGENERATE.keys())
def test_degenerate_sets_have_a_score_within_a_second(score, values):
    for real, fake in ((GOOD, values), (values, GOOD), (values, values)):
        start = time.process_time()
        value = score(real, fake)
        assert time.process_time() - start < 1.0
        assert isinstance(value, float) and math.isfinite(value)


@pytest.mark.parametrize(
    "name, rows",
    [("frechet", (2, 2)), ("kernel", (2, 2)), ("precision", (4, 4)), ("density", (6, 1)), ("authenticity", (2, 1))],
)
def test_fewest_rows(name, rows):
    score = SCORES[name]
    n, m = rows
    assert math.isfinite(score(GOOD[:n], GOOD[:m]))
    with pytest.raises(metrics.MetricError, match=f"at least {n} rows, not {n - 1}|not be empty"):
        score(GOOD[: n - 1], GOOD)
    with pytest.raises(metrics.MetricError, match=f"at least {m} rows, not {m - 1}|not be empty"):
        score(GOOD, GOOD[: m - 1])


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES.keys())
@pytest.mark.parametrize("other", [GOOD[:, :3], GOOD[:, 0], GOOD[None], np.empty((0, 32)), np.empty((9, 0)), "a", None])
def test_wrong_shapes(score, other):
    with pytest.raises(metrics.MetricError):
        score(GOOD, other)


@pytest.mark.parametrize("k", [0, -1, 2.0, True])
def test_impossible_k(k):
    with pytest.raises(metrics.MetricError, match="k must be"):
        metrics.precision_recall(GOOD, GOOD, k)
    with pytest.raises(metrics.MetricError, match="k must be"):
        metrics.density_coverage(GOOD, GOOD, k)


def test_inputs_and_global_states_are_left_alone():
    real, fake = GOOD.copy(), 1.1 * GOOD[::-1]
    before = fake.copy()
    expected = [score(real, fake) for score in SCORES.values()]
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float16)
        torch.use_deterministic_algorithms(True)
        assert [score(real, fake) for score in SCORES.values()] == expected
        assert torch.get_default_dtype() == torch.float16
    finally:
        torch.set_default_dtype(dtype)
        torch.use_deterministic_algorithms(False)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)
    assert torch.get_num_threads() == threads
    assert np.array_equal(real, GOOD) and np.array_equal(fake, before)


def test_every_offered_metric_is_well_described(make_evidence):
    offered: list[Metric] = []
    for module in (frechet, kernel, inception, manifold, memorization, modes, discrimination):
        offered += module.ganbench_metrics()
    assert {metric.name: (metric.label, metric.direction, metric.cost, metric.floor) for metric in offered} == {
        "fid": ("FID", "min", "each", "draws"),
        "mifid": ("MiFID", "min", "end", "test"),
        "kid": ("KID", "min", "end", "draws"),
        "is": ("IS", "max", "each", "draws"),
        "precision": ("Precision", "max", "each", "train"),
        "recall": ("Recall", "max", "each", "train"),
        "density": ("Density", "max", "each", "train"),
        "coverage": ("Coverage", "max", "each", "train"),
        "authenticity": ("Authenticity", "none", "end", "test"),
        "recovered_mass": ("Recovered mass", "max", "each", "draws"),
        "modes": ("Modes", "max", "each", "draws"),
        "mode_kl": ("Mode KL", "min", "each", "draws"),
        "high_quality": ("High quality", "max", "each", "draws"),
        "d_auc": ("D AUC", "none", "each", None),
        "d_auc_train": ("D AUC (train)", "none", "each", None),
        "d_accuracy": ("D accuracy", "none", "each", None),
    }
    evidence = make_evidence(GOOD[:150], GOOD[150:300], GOOD[300:])
    values = {metric.name: metric(evidence) for metric in offered if metric.needs == {"features"}}
    assert values["fid"] == metrics.frechet_distance(GOOD[150:300], GOOD[:150])
    assert values["kid"] == metrics.kernel_distance(GOOD[150:300], GOOD[:150])[0]
    assert all(type(value) is float for value in values.values())


def test_names_load_when_they_are_used():
    code = (
        "import sys, ganbench.metrics as m; assert 'torch' not in sys.modules; m.roc_auc; "
        "assert 'torch' not in sys.modules; m.frechet_distance; assert 'torch' in sys.modules; "
        "assert set(m.__all__) <= set(dir(m))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all(callable(getattr(metrics, name)) for name in metrics.__all__)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = metrics.nothing_like_it
