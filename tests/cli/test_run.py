"""``ganbench run`` as its users run it: real digits, real processes, real kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ganbench.cli.selftest import contents
from ganbench.results.film import read_frames

Ganbench = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[bytes]"]
SMALL = ("--datasets", "digits,ring8", "--images", "1280", "--evaluations", "4", "--samples", "200")
INLINE = ("--executor", "inline")  # where it is not the point that trials have processes of their own
BEGUN = "ganbench-results/*/*/seed-*/progress.jsonl"  # of trials that train


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ganbench", "run", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One finished sweep that several tests look at."""
    folder = tmp_path_factory.mktemp("sweep")
    done = run(folder, "--plugins", "dcgan,vanilla,noise", "--seeds", "2", *SMALL, "--jobs", "2")
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    (folder / "stderr").write_text(done.stderr)
    return folder


def test_every_evaluation_leaves_a_frame_and_the_last_is_what_was_scored(sweep: Path) -> None:
    places = list((sweep / "ganbench-results").glob("*/*/seed-*"))
    assert len(places) == 10, "two seeds of three variants on digits and of two on ring8"
    for place in places:
        evaluations = json.loads((place / "record.json").read_text())["evaluations"]
        seen = [entry["images_seen"] for entry in evaluations]
        frames = read_frames(place, place)
        assert [frame.images for frame in frames] == seen and len(seen) == 5
        if place.parents[1].name == "digits":
            assert frames[-1].grid is not None and frames[-1].grid.size == (73, 73)
            with Image.open(place / "samples" / f"{seen[-1]}.png") as last:
                assert np.array_equal(np.asarray(last)[::4, ::4], np.asarray(frames[-1].grid))
        else:
            assert all(frame.points is not None and len(frame.points) == 200 for frame in frames)
            adversarial = place.parent.name != "noise"
            assert all((frame.surface is not None) == adversarial for frame in frames)


def test_it_leaves_tables_and_a_folder_a_trial(sweep: Path) -> None:
    results = sweep / "ganbench-results"
    for name in ("leaderboard.csv", "leaderboard.html", "leaderboard.md", "trials.csv"):
        assert (results / name).stat().st_size > 300
    board = pd.read_csv(results / "leaderboard.csv")
    head = [
        "dataset",
        "extractor",
        "protocol",
        "rank",
        "tier",
        "variant",
        "seeds",
        "failed",
        "verdict",
        "notes",
        "given",
    ]
    head += ["true_family", "against_control", "p_control", "seed_sd", "sampling_sd"]
    assert list(board.columns[: len(head) + 1]) == [
        *head,
        "recovered_mass",
    ]  # in each dataset's own order, its first first
    manifold = ["precision", "recall", "density", "coverage"]
    for metric in ["fid", "is", "kid", *manifold, "authenticity", "d_auc", "mode_kl"]:
        assert {metric, f"{metric}_low", f"{metric}_high", f"{metric}_floor"} <= set(board.columns)
    digits = board[board.dataset == "digits"].set_index("variant")
    assert digits.loc[["dcgan", "vanilla"], "rank"].notna().all() and pd.isna(digits.loc["noise", "rank"])
    assert set(digits.tier.dropna()) == {"?"} and (digits.seeds == 2).all() and not digits.failed.any()
    assert (digits.extractor == "digits-cnn").all() and digits.fid_floor.iloc[0] < digits.fid.min()
    ring = board[board.dataset == "ring8"]
    assert set(ring.variant) == {"vanilla", "noise"} and ring.modes.notna().all() and ring.high_quality.notna().all()
    trials = pd.read_csv(results / "trials.csv")
    assert len(trials) == 10 and set(trials.status) == {"completed"}
    for _, trial in trials.iterrows():
        folder = results / trial.dataset / trial.variant / f"seed-{trial.seed}-{trial.trial}"
        files = {path.name for path in folder.iterdir()}
        drawn = set() if trial.dataset == "ring8" else {"pictures"}
        assert files == {"record.json", "cost.json", "history.csv", "samples", "film", "state.safetensors"} | drawn
        pictures = {path.name for path in (folder / "samples").iterdir()}
        assert pictures == (
            {"points.csv"} if trial.dataset == "ring8" else {f"{n}.png" for n in (0, 320, 640, 896, 1280)}
        )


def test_it_says_what_was_left_out_and_what_was_done(sweep: Path) -> None:
    assert "dcgan on ring8" in (sweep / "stderr").read_text()
    out = (sweep / "stdout").read_text()
    assert "FID (digits-cnn)" in out and "floor" in out and "leaderboard.html" in out
    assert "mostly bias" not in out + (sweep / "stderr").read_text()  # 200 samples are enough for 32 features
    assert max(map(len, out.splitlines())) > 200  # not on a terminal nothing is wrapped or shortened


def test_the_record_holds_what_verdicts_and_audits_need(sweep: Path) -> None:
    record = json.loads(next((sweep / "ganbench-results/digits/dcgan").glob("seed-0-*/record.json")).read_text())
    assert [e["images_seen"] for e in record["evaluations"]] == [0, 320, 640, 896, 1280]
    watch = record["evaluations"][-1]["watch"]
    assert watch["trace"] == record["reference"]["trace"] > 0
    assert (
        {"generator", "discriminator"}
        == set(watch["parameter_norms"])
        == set(watch["gradient_norms"])
        == set(watch["updates"])
    )
    assert set(watch["d_scores"]) == {"train", "test", "fake"} and 0 <= watch["d_auc"] <= 1
    assert watch["fid"] == record["values"]["fid"] and record["fid_train"] > 0
    assert record["environment"]["threads"] == 1 and record["environment"]["packages"]["torch"]
    assert record["telemetry"]["updates"] == {"discriminator": 20, "generator": 20}
    assert record["metrics"]["fid"]["floor"] > 0 and record["metrics"]["d_auc"]["floor"] is None


def test_another_order_jobs_hash_seed_locale_and_folder_give_the_same_bytes(sweep: Path, tmp_path: Path) -> None:
    shuffled = ("--plugins", "noise,vanilla", "--plugins", "dcgan", "--seeds", "1,0", "--jobs", "1")
    surroundings = {"PYTHONHASHSEED": "7", "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    again = run(tmp_path, *shuffled, *SMALL, "--results", "elsewhere", **surroundings)
    assert again.returncode == 0, again.stderr
    assert contents(tmp_path / "elsewhere") == contents(sweep / "ganbench-results")


def test_the_same_command_again_trains_nothing_and_changes_nothing(sweep: Path, command: Ganbench) -> None:
    before = {path: path.stat().st_mtime_ns for path in (sweep / "ganbench-results").rglob("record.json")}
    again = command(sweep, "run", "--plugins", "dcgan,vanilla,noise", "--seeds", "2", *SMALL, *INLINE)
    assert again.returncode == 0 and "0 trials to run, 10 finished earlier" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in (sweep / "ganbench-results").rglob("record.json")} == before


def test_how_often_one_evaluates_changes_no_weight(sweep: Path, ganbench: Ganbench, tmp_path: Path) -> None:
    other = ganbench("run", "--plugins", "dcgan", "--seeds", "1", *SMALL[2:], "--evaluations", "13", *INLINE)
    assert other.returncode == 0, other.stderr
    states = [next((f / "ganbench-results/digits/dcgan").glob("seed-0-*/state.safetensors")) for f in (sweep, tmp_path)]
    assert states[0].read_bytes() == states[1].read_bytes()
    assert states[0].parent.name != states[1].parent.name  # another protocol, another trial


@pytest.mark.parametrize("when", [3, pytest.param(7, marks=pytest.mark.slow)])
def test_killed_and_run_again_it_ends_in_the_same_bytes(sweep: Path, start: Start, tmp_path: Path, when: int) -> None:
    command = ["--plugins", "dcgan,vanilla,noise", "--seeds", "2", *SMALL]
    process = start("run", *command, until="ganbench-results/*/*/seed-*/record.json", count=when)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = len(list(tmp_path.glob("ganbench-results/*/*/seed-*/record.json")))
    again = run(tmp_path, *command)
    assert again.returncode == 0, again.stderr
    assert f"{10 - done} trials to run, {done} finished earlier" in again.stderr
    assert contents(tmp_path / "ganbench-results") == contents(sweep / "ganbench-results")


def test_a_trial_killed_in_the_middle_goes_on_from_its_checkpoint(
    ganbench: Ganbench, start: Start, tmp_path: Path
) -> None:
    command = ["--plugins", "dcgan", "--seeds", "1", "--images", "25600", "--evaluations", "4", "--metrics", "fid"]
    whole = ganbench("run", *command, "--results", "whole", *INLINE)
    assert whole.returncode == 0, whole.stderr
    checkpoint = "ganbench-results/*/*/*/checkpoint.safetensors"
    process = start("run", *command, until=checkpoint, GANBENCH_CHECKPOINT_SECONDS="0.2")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(tmp_path.glob("ganbench-results/*/*/*/record.json"))
    again = run(tmp_path, *command)
    assert again.returncode == 0, again.stderr
    assert contents(tmp_path / "ganbench-results") == contents(tmp_path / "whole")
    cost = json.loads(next(tmp_path.glob("ganbench-results/*/*/*/cost.json")).read_text())
    assert cost["attempts"] == 2 and cost["training_seconds"] > cost["wall_seconds"] / 4


def test_ctrl_c_ends_it_with_130_and_leaves_no_process(start: Start, tmp_path: Path) -> None:
    process = start("run", "--plugins", "dcgan", "--seeds", "2", until=BEGUN)
    os.kill(process.pid, signal.SIGINT)
    process.wait(60)
    stderr = (tmp_path / "stderr").read_text()
    assert process.returncode == 130 and "same command again" in stderr and "Traceback" not in stderr
    assert gone(process.pid, seconds=20)


def test_workers_end_with_their_driver(start: Start) -> None:
    process = start("run", "--plugins", "dcgan", "--seeds", "2", "--images", "640000", until=BEGUN)
    os.kill(process.pid, signal.SIGKILL)  # the driver alone
    process.wait()
    assert gone(process.pid, seconds=20)


def gone(group: int, seconds: float) -> bool:
    """Whether no process of a group is left, within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_hyperparameters_label_the_row_and_seeds_add_up(sweep: Path, ganbench: Ganbench, tmp_path: Path) -> None:
    small = ("--images", "640", "--evaluations", "2", "--samples", "100", *INLINE)
    first = ganbench(
        "run", "-p", "vanilla", "--set", "vanilla.lr=5e-4", "--set", "vanilla.width=32", "--seeds", "7,", *small
    )
    second = ganbench("run", "-p", "vanilla", "--seeds", "3-4", *small, "--metrics", "is")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    board = pd.read_csv(tmp_path / "ganbench-results/leaderboard.csv").set_index("variant")
    assert set(board.index) == {"vanilla", "vanilla[width=32,lr=0.0005]"} or set(board.index) == {
        "vanilla",
        "vanilla[lr=0.0005,width=32]",
    }
    assert board.loc["vanilla", "seeds"] == 2
    assert (
        pd.isna(board.loc["vanilla", "kid"]) and board.loc["vanilla", "fid"] > 0
    )  # the primary metric is always there


@pytest.mark.parametrize(("width", "told"), [("4", "dcgan: width=4 is outside the range"), ("None", "")])
def test_a_value_outside_its_range_is_told_and_the_default_is_none(ganbench: Ganbench, width: str, told: str) -> None:
    said = ganbench("run", "-p", "dcgan", "-d", "digits", "--set", f"dcgan.width={width}", "--dry-run", *INLINE)
    assert said.returncode == 0, said.stderr
    assert ("outside the range" in said.stderr) == bool(told) and told in said.stderr


def test_config_file_and_command_line(ganbench: Ganbench, tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text('plugins = ["noise"]\nseeds = 3\nimages = 640\nset = []\nbatch-size = 32\n')
    plain = ganbench("run", "--config", "sweep.toml", "--dry-run", *INLINE)
    assert plain.returncode == 0, plain.stderr
    assert [line.split() for line in plain.stdout.splitlines()[1:]] == [
        ["noise", "on", "digits,", "seed", str(i), "640", "new", "unknown"] for i in range(3)
    ]
    wins = ganbench("run", "--config", "sweep.toml", "--seeds", "1", "--dry-run", *INLINE)
    assert len(wins.stdout.splitlines()) == 2
    assert not (tmp_path / "ganbench-results").exists()
    (tmp_path / "bad.toml").write_text('plugin = ["noise"]\n')
    bad = ganbench("run", "--config", "bad.toml", "--dry-run", *INLINE)
    assert bad.returncode == 2 and "plugins" in bad.stderr
    (tmp_path / "bad.toml").write_text('plugins = "noise"\nbatch-size = 32\nbatch_size = 64\n')
    bad = ganbench("run", "--config", "bad.toml", "--dry-run", *INLINE)
    assert bad.returncode == 2 and "bad.toml: batch_size is set twice" in bad.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run"], "--plugins"),
        (["run", "--plugins", "noise", "--seeds", "many", *INLINE], "--seeds many"),
        (["run", "--plugins", "noise", "--set", "noise.lr=1"], "no hyperparameter 'lr'"),
        (["run", "--plugins", "vanilla", "--set", "vanilla.lr=fast", *INLINE], "expected a finite number"),
        (["run", "--plugins", "noise", "--device", "cuda:9", *INLINE], "cuda"),
        (["run", "--plugins", "dcgan", "--datasets", "ring8", *INLINE], "nothing to run"),
        (["run", "--plugins", "noise", "--curve-samples", "5", *INLINE], "x>=6"),
        (["report", "--results", "nowhere"], "no results folder"),
        (["compare", "nowhere", "here"], "no results folder"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(ganbench: Ganbench, arguments: list[str], expected: str) -> None:
    result = ganbench(*arguments)
    assert result.returncode == 2 and expected in result.stderr and "Traceback" not in result.stderr


def test_report_writes_the_same_bytes_and_leaves_a_damaged_record_out(
    sweep: Path, ganbench: Ganbench, tmp_path: Path
) -> None:
    results = tmp_path / "ganbench-results"
    for path in (sweep / "ganbench-results").rglob("*"):
        if path.is_file() and path.name != ".lock":
            (results / path.relative_to(sweep / "ganbench-results")).parent.mkdir(parents=True, exist_ok=True)
            (results / path.relative_to(sweep / "ganbench-results")).write_bytes(path.read_bytes())
    before = contents(results)
    assert ganbench("report").returncode == 0 and contents(results) == before
    damaged = next((results / "digits/dcgan").glob("seed-1-*/record.json"))
    damaged.write_text(damaged.read_text().replace('"status":"completed"', '"status":"diverged"'))
    result = ganbench("report", "--format", "csv")
    assert result.returncode == 3 and damaged.parent.name in result.stderr
    assert pd.read_csv(results / "trials.csv").shape[0] == 9
    mended = ganbench("run", "--plugins", "dcgan", "--seeds", "2", *SMALL, *INLINE)
    assert mended.returncode == 0 and "1 trials to run" in mended.stderr
    assert {k: v for k, v in contents(results).items() if not k.startswith("quarantine")} == before


def test_a_locale_without_arrows_costs_no_table(sweep: Path, ganbench: Ganbench) -> None:
    result = ganbench(
        "report", "--results", str(sweep / "ganbench-results"), "--format", "csv", PYTHONIOENCODING="ascii"
    )
    assert result.returncode == 0 and "dcgan" in result.stdout, result.stderr


def test_compare(sweep: Path, ganbench: Ganbench, tmp_path: Path) -> None:
    same = ganbench("compare", str(sweep / "ganbench-results"), str(sweep / "ganbench-results"))
    assert same.returncode == 0 and "no evidence" in same.stdout and "worse" not in same.stdout
    other = ganbench(
        "run", "-p", "dcgan", "--seeds", "1", *SMALL[2:4], "--evaluations", "2", "--samples", "200", *INLINE
    )
    assert other.returncode == 0
    refused = ganbench("compare", str(sweep / "ganbench-results"), "ganbench-results")
    assert refused.returncode == 3 and "evaluations" in refused.stderr


def test_the_python_functions_read_a_results_folder(sweep: Path) -> None:
    import ganbench

    frame = ganbench.load_results(sweep / "ganbench-results")
    assert {"dataset", "variant", "seed", "status", "images_seen", "metric", "value"} <= set(frame.columns)
    board = ganbench.leaderboard(frame)
    on_disk = pd.read_csv(sweep / "ganbench-results/leaderboard.csv")
    assert list(board.variant) == list(on_disk.variant) and list(board.columns) == list(on_disk.columns)
    assert set(ganbench.compare(frame, frame).conclusion) == {"no evidence"}


def test_observers_watch_and_bad_ones_are_switched_off(install, ganbench: Ganbench, tmp_path: Path) -> None:
    watcher = """
import json
from ganbench.plugin import hookimpl

@hookimpl
def ganbench_evaluated(spec, evaluation):
    print(json.dumps(["evaluated", spec["variant"], evaluation["images_seen"]]), file=open("seen.jsonl", "a"))

@hookimpl
def ganbench_finished(record):
    print(json.dumps(["finished", record["label"], record["status"]]), file=open("seen.jsonl", "a"))
"""
    raising = watcher.replace("print(", "1 / 0; print(")
    install("good-watcher", {"good_watcher.py": watcher}, {"good-watcher": "good_watcher"})
    quitting = watcher.replace("print(", "__import__('os')._exit(0); print(")
    install("quitting-watcher", {"quitting_watcher.py": quitting}, {"quitting-watcher": "quitting_watcher"})
    site = install("bad-watcher", {"bad_watcher.py": raising}, {"bad-watcher": "bad_watcher"})
    small = ("--seeds", "1", "--images", "640", "--evaluations", "2", "--samples", "100")
    watchers = "good-watcher,quitting-watcher,bad-watcher"
    result = ganbench("run", "-p", "noise", *small, "--observe", watchers, site=site)
    assert result.returncode == 0, result.stderr
    seen = [json.loads(line) for line in (tmp_path / "seen.jsonl").read_text().splitlines()]
    assert seen == [*(["evaluated", "noise", n] for n in (0, 320, 640)), ["finished", "noise", "completed"]]
    assert result.stderr.count("bad-watcher raised ZeroDivisionError") == 1
    assert result.stderr.count("quitting-watcher ended: its process ended by itself with exit code 0") == 1
