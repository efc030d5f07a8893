"""Every score on input without a proper score: a value that can be right, or a typed error, at once; no silent zero."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import entry_points
from typing import Any

import numpy as np
import pytest
import sklearn.cluster  # noqa: F401  what a first call imports is of no score's seconds
import torch
from ganbench_plugins.vanilla import Vanilla

from ganbench import metrics
from ganbench.plugin import Batch
from ganbench.plugin.interfaces import Dataset, Evidence, MetricError, NotApplicable, Scores, Side

SECONDS = 1.0  # of CPU time, so that a busy machine does not decide; a hang is ended by the clock


def blob(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def poisoned(value: float) -> np.ndarray:
    rows = blob(20, 8)
    rows[7, 3] = value
    return rows


def twice(rows: Any) -> tuple[Any, Any]:
    return rows, np.array(rows)


# Pairs (real, fake). Of "same" ones the fake is a copy of the real, of "apart" ones every row is far from every
# other set's; the rest have no score of any kind.
SAME = {
    "one sample": twice(blob(1, 4)),
    "two samples": twice(blob(2, 4)),
    "n < k": twice(blob(4, 4)),
    "n < d": twice(blob(12, 64)),
    "constant": twice(np.full((20, 8), 0.3)),
    "zeros": twice(np.zeros((20, 8))),
    "duplicates": twice(np.repeat(blob(2, 8), 10, axis=0)),
    "huge": twice(blob(20, 8) * 1e30),
    "tiny": twice(blob(20, 8) * 1e-30),
    "one feature": twice(blob(20, 1)),
    "far from zero": twice(blob(20, 8) + 1e9),
}
APART = {
    "one sample": (blob(1, 4), blob(1, 4) + 1e3),
    "n < k": (blob(4, 4), blob(4, 4, 1) + 1e3),
    "n < d": (blob(12, 64), blob(12, 64, 1) + 1e3),
    "constants": (np.full((20, 8), 0.3), np.full((20, 8), 0.7)),
    "duplicates": (np.repeat(blob(2, 8), 10, axis=0), np.repeat(blob(2, 8) + 1e3, 10, axis=0)),
    "huge": (blob(20, 8) * 1e30, (blob(20, 8, 1) + 1e3) * 1e30),
    "tiny": (blob(20, 8) * 1e-30, (blob(20, 8, 1) + 1e3) * 1e-30),
    "scales apart": (blob(20, 8) * 1e-30, blob(20, 8, 1) * 1e30),
}
NEITHER = {
    "nan": twice(poisoned(math.nan)),
    "all nan": twice(np.full((256, 256), math.nan)),
    "one nan in many": (blob(256, 256), np.where(np.eye(256) > 0, math.nan, 1.0)),
    "infinity": twice(poisoned(math.inf)),
    "minus infinity": twice(poisoned(-math.inf)),
    "1e300": twice(poisoned(1e300)),
    "empty": twice(np.empty((0, 8))),
    "no features": twice(np.empty((8, 0))),
    "one dimension": twice(blob(20, 8)[0]),
    "three dimensions": twice(blob(20, 8)[None]),
    "other widths": (blob(20, 8), blob(20, 7)),
    "words": twice(np.full((20, 8), "word")),
    "objects": twice(np.full((20, 8), None)),
    "ragged": ([[1.0, 2.0], [3.0]], [[1.0, 2.0], [3.0]]),
}
CASES = {
    **{f"same, {name}": pair for name, pair in SAME.items()},
    **{f"apart, {name}": pair for name, pair in APART.items()},
    **{f"neither, {name}": pair for name, pair in NEITHER.items()},
}


NEITHER_CASES = {case for case in CASES if case.startswith("neither")}


def labels(rows: Any) -> np.ndarray:
    return np.arange(len(rows)) % 2


def column(rows: Any) -> Any:
    return rows[:, 0] if getattr(rows, "ndim", None) == 2 and rows.size else rows


def tensor(rows: Any) -> torch.Tensor:
    """Only tensors reach this function; what can be none is left at nothing."""
    return torch.as_tensor(rows) if getattr(rows, "dtype", None) == np.float64 else torch.empty(0)


def game(rows: Any) -> float:
    """The duality gap of a small game on one set; what no dataset could hold is left at nothing."""
    points = tensor(rows).float()
    points = points if points.ndim == 2 else torch.empty(0, 8)
    variant = Vanilla(torch.Size(points.shape[1:]), width=8)
    return metrics.duality_gap(variant, Batch(points), Batch(points), 2, steps=2)


def numeric(rows: Any) -> Any:
    """What a mean is defined for; how a caller's own function fails is the caller's."""
    return rows if getattr(rows, "dtype", None) == np.float64 else np.empty(0)


# Every public function of pairs of sets, as a pair reaches it.
PAIRED: dict[str, Callable[[Any, Any], Any]] = {
    "frechet_distance": metrics.frechet_distance,
    "frechet_distance_infinity": metrics.frechet_distance_infinity,
    "kernel_distance": metrics.kernel_distance,
    "precision_recall": metrics.precision_recall,
    "density_coverage": metrics.density_coverage,
    "manifold_scores": metrics.manifold_scores,
    "score_all": metrics.score_all,
    "sliced_wasserstein": metrics.sliced_wasserstein,
    "prd_scores": partial(metrics.prd_scores, runs=1),
    "authenticity": lambda real, fake: metrics.authenticity(fake, real),
    "near_duplicates": metrics.near_duplicates,
    "gaussian_mmd": metrics.gaussian_mmd,
    "clipped_density": metrics.clipped_density,
    "clipped_coverage": metrics.clipped_coverage,
    "probabilistic_precision_recall": metrics.probabilistic_precision_recall,
    "nearest_neighbour_accuracy": metrics.nearest_neighbour_accuracy,
    "different_bins": partial(metrics.different_bins, bins=5),
    "data_copying": lambda real, fake: metrics.data_copying(fake, real, real, cells=2),
    "feature_likelihood_divergence": lambda real, fake: metrics.feature_likelihood_divergence(fake, real, real),
    "memorization_informed_frechet_distance": metrics.memorization_informed_frechet_distance,
    "rke_score": lambda real, fake: metrics.rke_score(fake, 1.0),
    "trace_of_covariance": lambda real, fake: metrics.trace_of_covariance(fake),
    "vendi_score": lambda real, fake: metrics.vendi_score(fake),
    "FeatureSet": lambda real, fake: float(len(metrics.FeatureSet(fake))),
    "features_of": lambda real, fake: float(metrics.features_of(Side(fake, fake)).width),
    "roc_auc": lambda real, fake: metrics.roc_auc(column(real), column(fake)),
    "balanced_accuracy": lambda real, fake: metrics.balanced_accuracy(column(real), column(fake), 0.0),
    "prd_curve": lambda real, fake: metrics.prd_curve(column(real), column(fake)),
    "inception_score": lambda real, fake: metrics.inception_score(fake)[0],
    "mode_coverage": lambda real, fake: metrics.mode_coverage(fake, real, 0.1),
    "recovered_mass": lambda real, fake: metrics.recovered_mass(fake, real, 0.1),
    "class_coverage": lambda real, fake: metrics.class_coverage(column(fake), column(real), 2),
    "linear_probe": lambda real, fake: metrics.linear_probe(real, labels(real), fake, labels(fake)),
    "intra_class_frechet_distance": lambda real, fake: metrics.intra_class_frechet_distance(
        real, labels(real), fake, labels(fake)
    ),
    "classification_accuracy": lambda real, fake: metrics.classification_accuracy(
        fake, labels(fake), real, labels(real)
    ),
    "ms_ssim": lambda real, fake: metrics.ms_ssim(real, fake),
    "similarities": lambda real, fake: metrics.similarities(fake),
    "duality_gap": lambda real, fake: game(fake),
    "bootstrap": lambda real, fake: metrics.bootstrap(np.mean, numeric(column(fake)), draws=20),
    "path_steps": lambda real, fake: metrics.path_steps(
        lambda z: z.numpy(), tensor(real), tensor(fake), torch.full((len(real), 1), 0.5)
    ),
}


def evidence(real: Any, fake: Any) -> Evidence:
    """What a metric is handed when features are degenerate: the samples themselves are points."""
    sides = [Side(rows, rows, None, labels(rows)) for rows in (real, fake)]
    return Evidence(
        fake=sides[1],
        real=sides[0],
        train=lambda: sides[0],
        dataset=Dataset(name="points", shape=(2,), budget_images=1, load=lambda split: None),
        scores=Scores(
            *(column(rows) for rows in (real, real, fake)),
            threshold=0.0,
        ),
    )


def judged(name: str, real: Any, fake: Any) -> Any:
    return METRICS[name](evidence(real, fake))


POINTS = [point for point in entry_points(group="ganbench") if point.value.startswith("ganbench.metrics.")]
METRICS = {metric.name: metric for point in POINTS for metric in point.load().ganbench_metrics()}


@contextmanager
def prompt(seconds: float) -> Iterator[None]:
    """Fails for a block that hangs, or that takes more than its seconds of work."""

    def hung(signum: int, frame: Any) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, hung)
    signal.setitimer(signal.ITIMER_REAL, 60)
    start = time.process_time()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.process_time() - start < seconds


def flat(value: Any, name: str = "") -> dict[str, np.ndarray]:
    """Every number of a result by the name of its place."""
    if isinstance(value, Mapping):
        return {k: v for key, item in value.items() for k, v in flat(item, str(key)).items()}
    if isinstance(value, tuple | list):
        return {k: v for i, item in enumerate(value) for k, v in flat(item, f"{name}{i}").items()}
    return {name: np.asarray(value, dtype=float)}


def scored(function: Callable[[], Any], seconds: float = SECONDS) -> dict[str, np.ndarray] | None:
    """The numbers of a score, or None for a typed error."""
    with prompt(seconds):
        try:
            value = function()
        except (MetricError, NotApplicable) as reason:
            assert len(str(reason)) > 10 and "\n" not in str(reason)
            return None
    return {} if value is None else flat(value)


def test_every_public_function_and_every_metric_is_here() -> None:
    assert set(metrics.__all__) == PAIRED.keys() | {"MetricError", "NotApplicable"}
    assert METRICS.keys() == {point.name for point in POINTS}


# What trains or clusters for a score: seconds it may take, and it sees fewer of the sound cases.
DEAR = {"classification_accuracy": 10.0, "cas": 10.0, "prd_scores": 5.0, "prd": 5.0}


def cases(name: str) -> list[tuple[str, tuple[Any, Any]]]:
    few = ("same, constant", "apart, huge", "apart, tiny")
    return [(case, pair) for case, pair in CASES.items() if name not in DEAR or case in few or case in NEITHER_CASES]


# A spread that one part does not have, by inception_score's own word; a kernel_distance of one subset.
UNDEFINED = {("inception_score", "1"), ("kernel_distance", "1")}


@pytest.mark.filterwarnings("ignore")  # what a warning says is judged by the value
@pytest.mark.parametrize("name", PAIRED)
def test_a_function_gives_a_finite_value_or_a_typed_error(name: str) -> None:
    for case, (real, fake) in cases(name):
        found = scored(partial(PAIRED[name], real, fake), DEAR.get(name, SECONDS))
        for place, value in (found or {}).items():
            assert np.isfinite(value).all() or (name, place) in UNDEFINED, (case, place, value)
        if case.startswith("neither") and name not in BLIND:
            assert found is None, (case, found)


# Functions that see one column, one side or no more than a shape: some of what is wrong does not reach them.
BLIND = {"roc_auc", "balanced_accuracy", "prd_curve", "class_coverage", "bootstrap", "duality_gap"}
BLIND |= {"trace_of_covariance", "vendi_score", "rke_score", "FeatureSet", "features_of", "inception_score"}


# Metrics of what these cases do not have: probabilities, centres, a variant, images, or more rows.
NEEDS_MORE = {"is", "modes", "mode_kl", "high_quality", "recovered_mass", "smoothness", "d_probe", "duality_gap"}
NEEDS_MORE |= {"ms_ssim", "ndb", "vendi"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", METRICS)
def test_a_metric_gives_a_finite_value_or_a_typed_error(name: str) -> None:
    valued = False
    for case, (real, fake) in cases(name):
        if not isinstance(fake, np.ndarray) or fake.dtype != np.float64 or fake.ndim != 2 or not fake.size:
            continue  # an extractor's features are a table of numbers, whatever stands in it
        found = scored(partial(judged, name, real, fake), DEAR.get(name, SECONDS))
        for place, value in (found or {}).items():
            assert np.isfinite(value).all(), (case, place, value)
        valued |= bool(found)
    assert valued is (name not in NEEDS_MORE)


# What is zero for sets that are alike, and must be above it for sets that are apart.
DISTANCES = {
    "frechet_distance": "",
    "sliced_wasserstein": "",
    "intra_class_frechet_distance": "",
    "kernel_distance": "0",
    "authenticity": "",
}
# What is one for sets that are alike. Density counts the balls that hold a sample: at least its own.
SHARES = {
    "precision_recall": ("precision", "recall"),
    "density_coverage": ("density", "coverage"),
    "manifold_scores": ("precision", "recall", "density", "coverage"),
    "prd_scores": ("f8", "f_1_8"),
}


# Cases too small for scores that need a neighbour, or a spread.
FEW = ("one sample", "two samples", "n < k")


@pytest.mark.filterwarnings("ignore")
def test_no_zero_is_silent() -> None:
    for name, place in DISTANCES.items():
        for case, (real, fake) in APART.items():
            if name == "kernel_distance" and case == "tiny":
                continue  # (x.y / d + 1)^3 is 1 for any x that small: it is blind to them, and zero is its value
            found = scored(partial(PAIRED[name], real, fake))
            assert (found is None and case in FEW) or found[place] > 0, (name, case, found)
        for case, (real, fake) in SAME.items():
            found = scored(partial(PAIRED[name], real, fake))
            scale = np.square(np.asarray(real)).sum(axis=1).max()
            most = 1e-9 * scale if name != "kernel_distance" else math.inf  # unbiased: around zero, not at it
            assert (found is None and case in FEW) or found[place] <= most, (name, case, found)
    for name, places in SHARES.items():
        for case, (real, fake) in SAME.items():
            found = scored(partial(PAIRED[name], real, fake))
            assert found is not None or case in FEW, (name, case)
            for place in places if found is not None else ():
                # The paper's balls of density and coverage are open: exact copies leave them without extent, and empty.
                empty = place in ("density", "coverage") and case in ("constant", "zeros", "duplicates")
                assert (found[place] == 0) if empty else (found[place] > 0.5), (name, case, found)
        for case, (real, fake) in APART.items():
            found = scored(partial(PAIRED[name], real, fake))
            assert (found is None and case in FEW) or all(0 <= found[place] <= 1 for place in places), (
                name,
                case,
                found,
            )
    for case, (_, fake) in (SAME | APART).items():
        found = scored(partial(metrics.trace_of_covariance, fake))
        spread = len(np.unique(fake, axis=0)) > 1
        assert (found is None and case in FEW) or (found[""] > 0) == spread, (case, found)
        assert (scored(partial(metrics.vendi_score, fake)) or {"": 1})[""] > 1 - 1e-9
