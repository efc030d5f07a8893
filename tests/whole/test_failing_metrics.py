"""Somebody else's metric that fails, from the training to the tables: what it costs, and what it must not change."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

PLUGIN = """
import sys
import numpy as np
import torch
from ganbench.plugin import Dataset, Metric, hookimpl

BROKEN = True


class One(Metric):
    "A metric."
    label, direction = "One", "min"

    def __init__(self, name, act, **about):
        self.act = act
        super().__init__(name=name, **about)

    def __call__(self, evidence):
        return self.act(evidence)


def late(evidence):
    "NaN for one kind of variant alone."
    return float("nan") if BROKEN and evidence.variant is not None and evidence.variant.name == "vanilla" else 2.0


def spoil(evidence):
    np.random.rand(7), torch.rand(3), torch.set_default_dtype(torch.float64)
    evidence.fake.features[:] = 0
    evidence.real.features[:] = np.nan
    evidence.fake.samples[:] = 0
    evidence.history.clear()
    return 1.0


def load(split):
    return np.random.RandomState(len(split)).randn(300, 2).astype("float32"), None


@hookimpl
def ganbench_metrics():
    return [
        One("late", late),
        One("leaves", lambda evidence: sys.exit(3), cost="end"),
        One("wide", lambda evidence: {"wide": 1.0, "x": float("inf"), "bad\\nkey": 2.0}),
        One("floorless", lambda evidence: 1 / (evidence.variant is not None), cost="end"),
        One("spoil", spoil),
    ]


@hookimpl
def ganbench_datasets():
    return [Dataset(name="blob", shape=(2,), primary="late", budget_images=640, load=load)]
"""
SMALL = ("--images", "640", "--evaluations", "2", "--samples", "100", "--seeds", "2", "--executor", "inline")
FAILING = "late,leaves,wide,floorless,spoil"


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, command: Callable[..., subprocess.CompletedProcess[str]]) -> Path:
    folder = tmp_path_factory.mktemp("failing")
    (folder / "mine.py").write_text(PLUGIN)
    for name, metrics in (("without", "coverage,d_auc"), ("with", f"coverage,d_auc,{FAILING}")):
        what = ("-p", "vanilla,wgan", "-d", "ring8", "-m", metrics, "--plugin-path", "mine.py", "--results", name)
        done = command(folder, "run", *what, *SMALL)
        assert done.returncode == 0, done.stderr
        (folder / f"{name}.out").write_text(done.stdout + done.stderr)
    return folder


def records(folder: Path) -> dict[str, Any]:
    return {str(path.relative_to(folder)): json.loads(path.read_bytes()) for path in folder.rglob("record.json")}


def test_trial_scores_and_rank_are_as_without_it(swept: Path) -> None:
    before, after = records(swept / "without"), records(swept / "with")
    assert before.keys() == after.keys() and len(before) == 4
    for place, record in before.items():
        other = after[place]
        for name in ("status", "state_sha256", "telemetry", "fid_train", "reference", "environment"):
            assert record[name] == other[name]
        for name, about in record["metrics"].items():
            assert other["values"][name] == record["values"][name] and other["metrics"][name] == about
        for one, two in zip(record["evaluations"], other["evaluations"], strict=True):
            assert one["watch"] == two["watch"] and one["values"].items() <= two["values"].items()
    boards = [pd.read_csv(swept / name / "leaderboard.csv") for name in ("without", "with")]
    pd.testing.assert_frame_equal(boards[0], boards[1][boards[0].columns])
    for path in (swept / "without").rglob("samples/*"):
        assert path.read_bytes() == (swept / "with" / path.relative_to(swept / "without")).read_bytes()


def test_the_record_says_which_metric_of_whom_gave_what_at_which_evaluation(swept: Path) -> None:
    for place, record in records(swept / "with").items():
        values, metrics = record["values"], record["metrics"]
        failed = {name: about["note"] for name, about in metrics.items() if about.get("status") == "failed"}
        expected = {"leaves", "wide.x"} | ({"late"} if "vanilla" in place else set())
        assert failed.keys() == expected and all(values[name] is None for name in expected)
        assert failed["leaves"].startswith("leaves (mine.py) raised SystemExit: 3 (mine.py, line")
        assert failed["leaves"].endswith("at step 10")
        assert failed["wide.x"] == "wide.x (mine.py) returned inf at step 0 and 2 more of 3 evaluations"
        assert values["wide"] == 1.0 and "not a valid column" in metrics["wide"]["note"]
        assert metrics["wide.x"]["floor_note"] == "wide.x (mine.py) returned inf for real images: it has no floor"
        assert "ZeroDivisionError" in metrics["floorless"]["floor_note"] and "note" not in metrics["floorless"]
        assert metrics["floorless"]["floor"] is None and values["floorless"] == 1.0
        assert record["evaluations"][-1]["faults"]["wide.x"] == "returned inf"
        if "vanilla" in place:
            assert record["evaluations"][0]["faults"]["late"] == "returned nan"


def test_a_record_without_a_fault_has_no_field_for_one(swept: Path) -> None:
    text = "".join(path.read_text() for path in (swept / "without").rglob("record.json"))
    assert not any(word in text for word in ('"faults"', '"status":"failed"', '"note"', '"floor_note"'))


def test_tables_and_pages_show_the_note(swept: Path) -> None:
    said = (swept / "with.out").read_text()
    assert "vanilla on ring8, seed 0: completed" in said and "late (mine.py) returned nan at step 0" in said
    assert "2 of 4 trials have no value" in said
    trials = pd.read_csv(swept / "with/trials.csv")
    assert set(trials["status"]) == {"completed"} and trials["note"].str.contains("leaves (mine.py)", regex=False).all()
    for name in ("leaderboard.md", "leaderboard.html"):
        assert re.search(r"late \(mine\.py\) returned nan", (swept / "with" / name).read_text())
    page = (swept / "with" / "leaderboard.html").read_text()
    (without_curve,) = re.findall(r"because computed only at the end: ([^.]*)\.", page)
    assert "One (identity)" in without_curve and "One x" not in without_curve  # wide.x failed at every evaluation


def test_verify_and_rerun_agree(swept: Path, command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = command(swept, "verify", "with", "--rerun", "1", "--plugin-path", "mine.py", "--executor", "inline")
    assert done.returncode == 0 and "4 bit-identical" in done.stderr + done.stdout, done.stderr


def test_rescore_records_the_fault_and_computes_it_again_once_it_is_mended(
    swept: Path, tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    swept = shutil.copytree(swept, tmp_path / "copy")
    what = ("rescore", "with", "-m", "late,recall", "--plugin-path", "mine.py", "--executor", "inline")
    done = command(swept, *what)
    assert done.returncode == 0 and "late (mine.py) returned nan at step 10" in done.stderr, done.stderr
    (swept / "mine.py").write_text(PLUGIN.replace("BROKEN = True", "BROKEN = False"))
    done = command(swept, *what)
    assert done.returncode == 0 and "2 trials to rescore, 2 rescored earlier" in done.stderr, done.stderr
    trials = pd.read_csv(swept / "with/trials.csv")
    assert (trials["late"] == 2.0).all() and trials["recall"].notna().all()
    assert not trials["note"].str.contains("late (mine.py)", regex=False).any()


def test_a_trial_whose_primary_metric_failed_is_completed_and_not_ranked(
    swept: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    what = ("-p", "vanilla,wgan", "-d", "blob", "-m", "fid", "--plugin-path", "mine.py", "--results", "blob")
    done = command(swept, "run", *what, *SMALL, "--extractor", "identity")
    assert done.returncode == 0, done.stderr
    board = pd.read_csv(swept / "blob/leaderboard.csv").set_index("variant")
    assert board.loc["wgan", "rank"] == 1 and pd.isna(board.loc["vanilla", "rank"])
    assert board.loc["vanilla", "failed"] == 0 and board.loc["vanilla", "fid"] > 0
    assert "2 of 4 trials have no value and are not ranked" in done.stdout


def test_score_prints_the_others(swept: Path, command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    what = ("score", "--real", "ring8", "--fake", "ring8:train", "--n", "100", "--plugin-path", "mine.py")
    done = command(swept, *what, "-m", "coverage,leaves,wide,spoil", "--json")
    alone = command(swept, *what, "-m", "coverage", "--json")
    assert done.returncode == alone.returncode == 0, done.stderr
    found, expected = json.loads(done.stdout), json.loads(alone.stdout)
    assert found["metrics"]["coverage"] == expected["metrics"]["coverage"]
    assert found["metrics"]["leaves"]["value"] is None and found["metrics"]["leaves"]["status"] == "failed"
    assert found["metrics"]["wide"]["value"] == 1.0 and "status" not in expected["metrics"]["coverage"]
    assert "leaves (mine.py) raised SystemExit: 3" in " ".join(found["notes"])
    table = command(swept, *what, "-m", "coverage,leaves").stdout
    assert re.search(r"leaves +failed", table)
