"""The metrics beyond the defaults, as the harness meets them."""

from __future__ import annotations

import json
import math
import re
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ganbench_plugins.cgan import CGAN

from ganbench.cli.list import show_catalog
from ganbench.conformance.checks.metrics import declares_itself
from ganbench.conformance.subjects import Subject
from ganbench.harness.evaluation import Evaluator
from ganbench.harness.floors import floors
from ganbench.harness.real_data import RealData
from ganbench.harness.telemetry import Telemetry
from ganbench.metrics import (
    MetricError,
    classifier,
    similarity,
    smoothness,
)
from ganbench.plugin.interfaces import Dataset, Extractor, Metric

OFFERED = {
    "fid_inf": ("min", "end", "draws"),
    "sliced_wasserstein": ("min", "end", "draws"),
    "prd": ("max", "end", "draws"),
    "vendi": ("max", "end", "train"),
    "ms_ssim": ("none", "end", "train"),
    "near_duplicates": ("min", "each", "train"),
    "smoothness": ("min", "end", None),
    "cas": ("max", "end", "train"),
    "intra_fid": ("min", "end", "draws"),
    "d_probe": ("max", "end", None),
    "cmmd": ("min", "end", "train"),
    "fld": ("min", "end", None),
    "ct": ("none", "end", "test"),
    "rke": ("max", "end", "train"),
    "clipped_density": ("max", "end", "train"),
    "clipped_coverage": ("max", "end", "train"),
    "p_precision": ("max", "end", "train"),
    "p_recall": ("max", "end", "train"),
    "one_nn": ("none", "end", "train"),
    "ndb": ("min", "end", "test"),
    "mifid": ("min", "end", "test"),
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


@pytest.fixture(scope="module")
def every() -> dict[str, Metric]:
    points = [p for p in entry_points(group="ganbench") if p.value.startswith("ganbench.metrics.")]
    return {m.name: m for point in points for m in point.load().ganbench_metrics()}


def test_each_passes_the_check_that_authors_run(every):
    for name, metric in every.items():
        assert declares_itself(Subject("metric", name, metric)), name


def table() -> dict[str, list[str]]:
    """The cells of docs/metrics.md by metric: label, better, range, when, needs, interval, constants, floor."""
    lines = (Path(__file__).parents[2] / "docs/metrics.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return {row[0].split("`")[1]: row[1:] for row in rows}


def test_every_metric_of_ganbench_is_documented(every):
    text = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
    names = {p.name for p in entry_points(group="ganbench") if p.value.startswith("ganbench.metrics.")}
    assert set(table()) == names == set(every)
    for name in names:
        assert len(re.findall(rf"\*\*.*?`{name}`.*?\*\*", text)) == 1, name


def test_the_table_of_the_documentation_says_what_the_metrics_declare(every):
    words = {"min": ("lower",), "max": ("higher",), "none": ("-", "1/2 is balance")}
    for name, (label, better, _, when, needs, interval, _, floor) in table().items():
        metric = every[name]
        assert (label, when) == (metric.label, metric.cost) and better in words[metric.direction], name
        said = [", ".join(str(n or "-") for n in metric.rows)] if any(metric.rows) else []
        said += [metric.requires] if metric.requires else []
        said += [f"warned below {metric.rows_per_feature} d"] if metric.rows_per_feature else []
        assert said and needs == "; ".join(said), name
        assert interval == ("yes" if type(metric).interval is not Metric.interval else "-"), name
        assert (floor == "none") == (metric.floor is None), name


def test_the_list_for_machines_says_the_same(every, capsys):
    assert show_catalog(as_json=True) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)["metrics"]}
    for name, metric in every.items():
        found = listed[name]
        assert (found["label"], found["direction"], found["cost"]) == (metric.label, metric.direction, metric.cost)
        assert (found["rows"], found["requires"]) == (
            dict(zip(("real", "fake"), metric.rows, strict=True)),
            metric.requires,
        )
        assert (found["floor"], found["rows_per_feature"]) == (metric.floor, metric.rows_per_feature)
        assert found["biased_by"] == metric.biased_by
        assert found["interval"] is (table()[name][5] == "yes") and set(found["needs"]) == metric.needs
        assert found["constants"].keys() == metric.constants.keys()


@pytest.mark.parametrize(
    "name",
    ["fid", "kid", "sliced_wasserstein", "is", "precision", "recall", "density", "coverage", "prd", "near_duplicates"]
    + ["authenticity", "high_quality", "cmmd", "clipped_density", "clipped_coverage", "p_precision", "p_recall"]
    + ["one_nn", "fld", "rke"],
)
def test_fewer_rows_than_declared_are_an_error(every, make_evidence, name):
    metric = every[name]
    x = np.random.default_rng(3).normal(size=(30, 2))

    def value(n_real: int, n_fake: int) -> Any:
        p = np.full((n_fake, 4), 0.25)
        known = {"centres": np.zeros((1, 2)), "std": 1.0}
        return metric(make_evidence(x[:n_fake], x[::-1][:n_real], x, probabilities=(p, None), dataset=known))

    least = [n or 5 for n in metric.rows]
    assert value(*least) is not None
    for side, n in enumerate(metric.rows):
        if n:
            fewer = list(least)
            fewer[side] -= 1
            with pytest.raises(MetricError):
                value(*fewer)


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
    monkeypatch.setattr(classifier, "STEPS", 60)
    monkeypatch.setattr(smoothness, "PATHS", 50)
    monkeypatch.setattr(similarity, "similarities", partial(similarity.similarities, pairs=50))
    dataset = Dataset(name="bars", shape=(1, 32, 32), classes=3, budget_images=1, load=load)
    torch.manual_seed(0)
    variant = Probed(torch.Size((1, 32, 32)), classes=3, latent_dim=8, width=8)
    real = RealData(dataset, Columns(), 120)
    entry, _ = Evaluator(real, offered, 0, 16)(variant, Telemetry(variant), 0, [], last=True)
    values = entry["values"]
    assert set(values) == {*OFFERED, "prd.f8", "prd.f_1_8"}
    assert all(isinstance(value, float) and math.isfinite(value) for value in values.values()), values
    assert values["d_probe"] > 0.9
    again, _ = Evaluator(real, offered, 0, 16)(variant, Telemetry(variant), 0, [], last=True)
    assert again["values"] == values
    found = floors(real, [m for m in offered if m.name != "ms_ssim"]).values
    assert {name for name, value in found.items() if value is None} == {"smoothness", "d_probe", "fld"}
    assert (
        found["cas"] > 0.9 > values["cas"]
        and found["intra_fid"] < values["intra_fid"]
        and found["fid_inf"] < values["fid_inf"]
    )
