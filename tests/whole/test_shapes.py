"""Data that is neither a square image nor a point in the plane: from ``run`` to the page and back by ``verify``."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from ganbench.cli import cli

PLUGIN = """
import itertools
import numpy as np
from ganbench.plugin import Dataset, hookimpl

def images(shape):
    def load(split):
        rng = np.random.RandomState({"train": 1, "test": 2}[split])
        return rng.randint(0, 256, size=(300, *shape)).astype(np.uint8), rng.randint(3, size=300).astype(np.int64)
    return load

CUBE = np.array(list(itertools.product((-1, 1), repeat=3)), float)

def cube(split):
    rng = np.random.RandomState({"train": 1, "test": 2}[split])
    labels = rng.randint(8, size=300)
    return (CUBE[labels] + rng.normal(scale=0.05, size=(300, 3))).astype(np.float32), labels.astype(np.int64)

def rows(width):
    def load(split):
        return np.random.RandomState({"train": 1, "test": 2}[split]).normal(size=(300, width)).astype(np.float32), None
    return load

@hookimpl
def ganbench_datasets():
    return [
        Dataset("wide", (3, 32, 48), 3, "fid", 640, images((3, 32, 48))),
        Dataset("flat", (1, 20, 14), 3, "fid", 640, images((1, 20, 14))),
        Dataset("cube", (3,), 8, "coverage", 640, cube, centres=CUBE, std=0.05),
        Dataset("table", (12,), None, "fid", 640, rows(12)),
        Dataset("line", (1,), None, "coverage", 640, rows(1)),
    ]
"""


def run(*arguments: str) -> str:
    found = CliRunner().invoke(cli, list(arguments), catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


@pytest.mark.parametrize(
    ("dataset", "variants", "more"),
    [
        ("wide", "dcgan,vae", ("--extractor", "pixels")),
        ("flat", "dcgan,gmm", ("--extractor", "pixels")),
        ("cube", "vanilla,cgan,gmm", ()),
        ("table", "vanilla,vae", ()),
        ("line", "vanilla,r1", ()),
    ],
)
def test_every_shape_is_trained_scored_drawn_and_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str, variants: str, more: tuple[str, ...]
) -> None:
    (tmp_path / "shapes.py").write_text(PLUGIN)
    results = tmp_path / "results"
    common = ("--plugin-path", str(tmp_path / "shapes.py"))
    budget = ("--images", "320", "--evaluations", "2", "--samples", "100", "--seeds", "1", "--results", str(results))
    run("run", *common, "-p", variants, "-d", dataset, *more, *budget, "--executor", "inline")

    trials = pd.read_csv(results / "trials.csv")
    assert sorted(trials["variant"]) == sorted(variants.split(",")) and set(trials["status"]) == {"completed"}
    assert trials["precision"].between(0, 1).all()
    run("verify", str(results), "--records-only")
    page = (results / "leaderboard.html").read_text()
    if dataset in ("wide", "flat"):
        assert "data:image/png" in page
        return
    for record in results.glob("*/*/*/record.json"):
        points = pd.read_csv(record.parent / "samples" / "points.csv")
        assert list(points) == ["images_seen", "x", "y"] and np.isfinite(points).to_numpy().all()
        content = json.loads(record.read_text())
        assert content["reference"]["modes"] == (8 if dataset == "cube" else None)
        shown = (results / "trials" / f"{content['identity']['id'][:8]}.html").read_text()
        assert ("the first two of" in shown) == (dataset != "line")
    assert bool(re.search(r"the first two of (3|12) coordinates", page)) == (dataset != "line")


def test_a_mixture_finds_the_modes_of_a_cube(tmp_path: Path) -> None:
    """The true family of the data: it covers all eight modes, in three dimensions as in two."""
    (tmp_path / "shapes.py").write_text(PLUGIN)
    results = str(tmp_path / "results")
    common = ("--plugin-path", str(tmp_path / "shapes.py"), "--executor", "inline", "--results", results)
    run("run", *common, "-p", "gmm", "-d", "cube", "--images", "640", "--evaluations", "1", "--seeds", "1")
    (row,) = pd.read_csv(tmp_path / "results" / "trials.csv").to_dict("records")
    assert row["modes"] == 8 and row["high_quality"] > 0.9 and row["mode_kl"] < 0.1


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (4, 8), ()])
def test_sequences_and_volumes_are_refused_by_name(
    tmp_path: Path, shape: tuple[int, ...], ganbench: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    text = f'Dataset("strange", {shape}, None, "fid", 640, lambda split: (np.zeros((9, *{shape}), np.float32), None))'
    head = "import numpy as np\nfrom ganbench.plugin import Dataset, hookimpl\n"
    (tmp_path / "strange.py").write_text(f"{head}\n@hookimpl\ndef ganbench_datasets():\n    return [{text}]\n")
    found = ganbench(
        "run", "--plugin-path", str(tmp_path / "strange.py"), "-p", "vanilla", "-d", "strange", "--dry-run"
    )
    assert found.returncode == 2 and f"strange has samples of shape {shape}" in found.stderr
    assert "volumes are not supported" in found.stderr
