"""The metrics beyond the defaults, as the harness meets them."""

from __future__ import annotations

import math
import re
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import torch
from ganbench_plugins.cgan import CGAN

from ganbench.evaluation import Evaluator
from ganbench.kinds import Dataset, Extractor, Metric
from ganbench.metrics import (
    MetricError,
    _classifier,
    near_duplicates,
    prd_scores,
    similarity,
    sliced_wasserstein,
    smoothness,
    vendi_score,
)
from ganbench.metrics import frechet_distance_infinity as fid_infinity
from ganbench.real import Real
from ganbench.reference import floors
from ganbench.telemetry import Telemetry

OFFERED = {
    "fid_inf": ("min", "end", "train"),
    "sliced_wasserstein": ("min", "end", "train"),
    "prd": ("max", "end", "train"),
    "vendi": ("max", "end", "train"),
    "ms_ssim": ("none", "end", "train"),
    "near_duplicates": ("min", "each", "train"),
    "smoothness": ("min", "end", None),
    "cas": ("max", "end", "train"),
    "intra_fid": ("min", "end", "train"),
    "d_probe": ("max", "end", None),
}


@pytest.fixture(scope="module")
def offered() -> list[Metric]:
    points = {point.name: point for point in entry_points(group="ganbench") if point.name in OFFERED}
    assert set(points) == set(OFFERED)
    metrics = {m.name: m for point in points.values() for m in point.load().ganbench_metrics()}
    return [metrics[name] for name in OFFERED]


def test_each_is_described(offered):
    assert {m.name: (m.direction, m.cost, m.floor) for m in offered} == OFFERED
    assert all(m.__doc__ and m.label and isinstance(m.constants, dict) for m in offered)


def test_every_metric_of_ganbench_is_documented():
    text = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
    names = {p.name for p in entry_points(group="ganbench") if p.value.startswith("ganbench.metrics.")}
    rows = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    assert rows == names
    for name in names:
        assert len(re.findall(rf"\*\*.*?`{name}`.*?\*\*", text)) == 1, name


class Columns(Extractor):
    """Means of eight parts of an image."""

    name, size, weights_hash = "columns", 8, "0"

    def __call__(self, batch):
        return batch.float().flatten(1).unflatten(1, (8, -1)).mean(2), None


def load(split: str):
    rng = np.random.default_rng(len(split))
    labels = np.arange(120) % 3
    images = rng.integers(0, 100, size=(120, 1, 32, 32))
    for i, label in enumerate(labels):
        images[i, :, 10 * label : 10 * label + 8] += 150
    return np.uint8(images), labels


class Probed(CGAN):
    def discriminator_features(self, x):
        return self.discriminator[:-1](x)


def test_all_of_them_run_at_the_end_of_a_trial(offered, monkeypatch):
    monkeypatch.setattr(_classifier, "STEPS", 60)
    monkeypatch.setattr(smoothness, "PATHS", 50)
    monkeypatch.setattr(similarity, "similarities", partial(similarity.similarities, pairs=50))
    dataset = Dataset(name="bars", shape=(1, 32, 32), classes=3, budget_images=1, load=load)
    torch.manual_seed(0)
    variant = Probed(torch.Size((1, 32, 32)), classes=3, latent_dim=8, width=8)
    real = Real(dataset, Columns(), 120)
    entry, _ = Evaluator(real, offered, 0, 16)(variant, Telemetry(variant), 0, [], last=True)
    values = entry["values"]
    assert set(values) == {*OFFERED, "prd.f8", "prd.f_1_8"}
    assert all(isinstance(value, float) and math.isfinite(value) for value in values.values()), values
    assert values["d_probe"] > 0.9
    again, _ = Evaluator(real, offered, 0, 16)(variant, Telemetry(variant), 0, [], last=True)
    assert again["values"] == values
    found = floors(real, [m for m in offered if m.name != "ms_ssim"])
    assert {name for name, value in found.items() if value is None} == {"smoothness", "d_probe"}
    assert (
        found["cas"] > 0.9 > values["cas"]
        and found["intra_fid"] < values["intra_fid"]
        and found["fid_inf"] < values["fid_inf"]
    )


SCORES = {
    "fid_inf": lambda real, fake: fid_infinity(real, fake),
    "sliced_wasserstein": lambda real, fake: sliced_wasserstein(real, fake, 20),
    "prd": lambda real, fake: prd_scores(real, fake, runs=1)["prd"],
    "near_duplicates": lambda real, fake: near_duplicates(real, fake),
    "vendi": lambda real, fake: vendi_score(fake),
}
GOOD = np.random.default_rng(0).normal(size=(80, 6))


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES.keys())
def test_bad_values_and_shapes_are_errors(score):
    for value in (np.nan, np.inf, 1e41):
        bad = GOOD.copy()
        bad[17, 3] = value
        with pytest.raises(MetricError, match=r"not finite|overflow"):
            score(GOOD, bad)
    for bad in (GOOD[:, 0], np.empty((0, 6)), "a", None):
        with pytest.raises(MetricError):
            score(GOOD, bad)


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES.keys())
@pytest.mark.parametrize(
    "values", [np.ones((80, 6)), np.zeros((80, 6)), np.repeat(GOOD[:2], 40, axis=0), 1e30 * GOOD, 1e-30 * GOOD]
)
def test_degenerate_sets_have_a_score(score, values):
    for real, fake in ((GOOD, values), (values, GOOD), (values, values)):
        found = score(real, fake)
        assert type(found) is float and math.isfinite(found)


def test_inputs_and_global_states_are_left_alone():
    real, fake = GOOD.copy(), 1.1 * GOOD[::-1]
    before = fake.copy()
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    expected = [score(real, fake) for score in SCORES.values()]
    dtype = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float16)
        assert [score(real, fake) for score in SCORES.values()] == expected
    finally:
        torch.set_default_dtype(dtype)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)
    assert np.array_equal(real, GOOD) and np.array_equal(fake, before)
