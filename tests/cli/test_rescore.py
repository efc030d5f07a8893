"""``ganbench rescore``: metrics of trained variants from their stored states, without training."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from msgspec.structs import replace

from ganbench import load_results
from ganbench.cli import rescore as rescoring
from ganbench.cli.rescore import Options, rescore
from ganbench.harness.stored_trial import read_trial
from ganbench.results.records import DamagedRecord, read
from ganbench.results.rescored import Rescored, merged, seal, unseal
from ganbench.results.schema import MetricColumn
from ganbench.results.store import read_records
from ganbench.scoring.samples import Request, load
from ganbench.scoring.score import Options as Scoring
from ganbench.scoring.score import score
from ganbench.utils.errors import UsageError


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, command: Callable[..., subprocess.CompletedProcess[str]]) -> Path:
    """A finished sweep with few metrics, rescored with one that it has and two that it has not."""
    folder = tmp_path_factory.mktemp("swept")
    small = ("--images", "640", "--evaluations", "2", "--samples", "200", "--seeds", "1")
    what = ("-p", "vanilla,noise,planted-nan", "-d", "digits,ring8", "-m", "fid,kid,d_auc")
    run = command(folder, "run", "--executor", "inline", *what, *small)
    assert run.returncode == 1, run.stderr  # one trial diverged
    (folder / "before.csv").write_bytes((folder / "ganbench-results/leaderboard.csv").read_bytes())
    (folder / "records").write_text("".join(p.read_text() for p in sorted(folder.rglob("record.json"))))
    done = command(folder, "rescore", "ganbench-results", "--metrics", "fid,kid,recall,d_auc,is,prd", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    (folder / "stderr").write_text(done.stderr)
    return folder


def again(folder: Path, *metrics: str, **names: tuple[str, ...]) -> int:
    """``ganbench rescore`` in this process."""
    return rescore(folder / "ganbench-results", Options(metrics, **names), 1, "inline")


def trial(folder: Path, dataset: str, variant: str) -> Path:
    (found,) = (folder / "ganbench-results" / dataset / variant).glob("seed-0-*")
    return found


def test_it_finds_what_the_last_evaluation_found_to_the_bit(swept: Path) -> None:
    found = 0
    for path in swept.rglob("rescored.json"):
        record = json.loads((path.parent / "record.json").read_text())
        found_again = json.loads(path.read_text())
        assert found_again["record"] == record["sha256"] and found_again["environment"] == record["environment"]
        for name in ("fid", "kid", "d_auc"):
            assert found_again["values"][name] == record["values"][name]
            assert found_again["metrics"][name]["floor"] == record["metrics"][name]["floor"]
        assert found_again["values"]["recall"] is not None
        found += 1
    assert found == 4  # the diverged ones have no variant to rescore


def test_records_are_untouched_and_tables_have_the_new_columns(swept: Path) -> None:
    assert "".join(p.read_text() for p in sorted(swept.rglob("record.json"))) == (swept / "records").read_text()
    before, after = pd.read_csv(swept / "before.csv"), pd.read_csv(swept / "ganbench-results/leaderboard.csv")
    new = [
        f"{name}{end}"
        for name in ("is", "recall", "prd", "prd.f8", "prd.f_1_8")
        for end in ("", "_low", "_high", "_floor", "_floor_sd")
    ]
    assert {name for name in after.columns if name not in before.columns} == set(new)
    pd.testing.assert_frame_equal(before, after[before.columns])
    digits = after[(after.dataset == "digits") & (after.variant == "vanilla")].iloc[0]
    assert digits["is"] > 1 and digits.is_floor > digits["is"] and 0 <= digits.recall < digits.recall_floor
    trials = pd.read_csv(swept / "ganbench-results/trials.csv")
    assert (trials.recall.notna() == (trials.status == "completed")).all()
    frame = load_results(swept / "ganbench-results")
    assert set(frame[frame.final & frame.value.notna() & (frame.dataset == "ring8")].metric) >= {"recall", "fid"}
    assert "Recall (digits-cnn)" in (swept / "ganbench-results/leaderboard.md").read_text()


def test_what_is_done_is_not_done_again(swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    swept = shutil.copytree(swept, tmp_path / "copy")
    times = {path: path.stat().st_mtime_ns for path in swept.rglob("rescored.json")}
    assert again(swept, "recall", "fid") == 0
    assert "0 trials to rescore, 4 rescored earlier" in capsys.readouterr().err
    assert times == {path: path.stat().st_mtime_ns for path in swept.rglob("rescored.json")}
    assert again(swept, "precision", "fid", plugins=("vanilla",), datasets=("ring8",)) == 0
    assert "1 trials to rescore" in capsys.readouterr().err
    path = trial(swept, "ring8", "vanilla") / "rescored.json"
    names = "fid kid recall d_auc is prd prd.f8 prd.f_1_8 precision"
    assert set(json.loads(path.read_text())["metrics"]) == set(names.split())
    assert {p for p in times if times[p] != p.stat().st_mtime_ns} == {path}


def test_a_damaged_file_is_named_and_ignored_and_made_again(swept: Path, here) -> None:
    path = trial(swept, "digits", "noise") / "rescored.json"
    good = path.read_bytes()
    path.write_bytes(good.replace(b'"recall":0', b'"recall":9', 1))
    assert path.read_bytes() != good
    report = here("report", "--results", str(swept / "ganbench-results"))
    assert report.returncode == 3 and str(path) in report.stderr
    assert "does not match its hash" in report.stderr and "ganbench rescore computes it again" in report.stderr
    board = pd.read_csv(swept / "ganbench-results/leaderboard.csv")
    row = board[(board.dataset == "digits") & (board.variant == "noise")].iloc[0]
    assert row.fid > 0 and pd.isna(row.recall)
    assert again(swept, "fid", "kid", "recall", "d_auc", "is", "prd") == 0
    assert path.read_bytes() == good


def test_a_trial_that_cannot_be_rescored_costs_no_other(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["cp", "-r", str(swept / "ganbench-results"), str(tmp_path / "ganbench-results")], check=True)
    for path in (tmp_path / "ganbench-results").rglob("rescored.json"):
        path.unlink()
    (broken,) = (tmp_path / "ganbench-results/ring8/noise").glob("seed-0-*/state.safetensors")
    broken.write_bytes(broken.read_bytes()[:-1] + b"?")
    assert again(tmp_path, "fid", datasets=("ring8",)) == 1
    assert "noise on ring8, seed 0: not rescored" in capsys.readouterr().err
    assert len(list((tmp_path / "ganbench-results").rglob("rescored.json"))) == 1
    with pytest.raises(UsageError, match="did you mean fid"):
        again(tmp_path, "fit")
    with pytest.raises(UsageError, match="no completed trial"):
        again(tmp_path, "fid", plugins=("absent",))


def test_a_stored_trial_is_scored_with_the_samples_of_its_last_evaluation(swept: Path) -> None:
    folder = trial(swept, "digits", "vanilla")
    record = read_trial(folder)
    found = score("digits", str(folder), Scoring(Request(n=200), metrics=("fid", "kid")))
    assert {one.name: one.value for one in found.scores} == {name: record.values[name] for name in ("fid", "kid")}
    assert {one.name: one.floor for one in found.scores} == {
        name: record.metrics[name].floor for name in ("fid", "kid")
    }
    request = Request(results=swept / "ganbench-results")
    assert load(folder.name.rpartition("-")[2], request).hash == load(str(folder), Request(n=200)).hash
    assert load(str(folder), Request(seed=1)).hash != load(str(folder), Request()).hash
    assert len(load(str(folder), Request(n=7)).data) == 7
    with pytest.raises(UsageError, match="ended as diverged"):
        load(str(trial(swept, "digits", "planted-nan")), Request())
    with pytest.raises(UsageError, match="no finished trial"):
        read_trial(swept)


def test_the_file_holds_its_own_hash_and_the_records() -> None:
    about = MetricColumn(label="X", direction="min")
    record = replace(
        read(min((Path(__file__).parents[2] / "results/reference").rglob("record.json"))),
        metrics={"fid": about},
        values={"fid": 1.0},
    )
    found = Rescored(
        record=record.sha256, metrics={"x": about, "fid": about}, values={"x": 2.0, "fid": 9.0}, environment={}
    )
    text = seal(found).encode()
    both = merged(record, unseal(text, record))
    assert both.values == {"fid": 1.0, "x": 2.0}  # the record's own stays
    assert list(both.metrics) == ["fid", "x"] and both.metrics["x"].position == 1
    assert record.values == {"fid": 1.0}
    for other in (text[:-2], text + b" ", b"{}", b"[]", b"nothing", text.replace(b"2.0", b"NaN")):
        with pytest.raises(DamagedRecord):
            unseal(other, record)
    with pytest.raises(DamagedRecord, match="another record"):
        unseal(text, replace(record, sha256="b"))


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_ctrl_c_keeps_what_was_rescored_and_says_how_to_go_on(
    swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asked between two trials: the second is not begun, nothing is half written, the same call completes it."""
    shutil.copytree(swept / "ganbench-results", tmp_path / "ganbench-results")
    for path in tmp_path.rglob("rescored.json"):
        path.unlink()
    write, previous = rescoring._write, {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}

    def interrupted(*arguments: object) -> None:
        write(*arguments)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(rescoring, "_write", interrupted)
    try:
        assert again(tmp_path, "recall") == 130
        assert "run the same command again to continue" in capsys.readouterr().err
        (first,) = tmp_path.rglob("rescored.json")
        assert read_records(tmp_path / "ganbench-results").problems == [] and not list(tmp_path.rglob("*.tmp"))
        kept = first.read_bytes()
        monkeypatch.setattr(rescoring, "_write", write)
        assert again(tmp_path, "recall") == 0
        assert "3 trials to rescore, 1 rescored earlier" in capsys.readouterr().err
        assert len([*tmp_path.rglob("rescored.json")]) == 4 and first.read_bytes() == kept
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
