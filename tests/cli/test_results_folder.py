"""The results folder that commands use by themselves, what is said of files in its way, and what report writes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import spearmanr

from ganbench.results.store import read_records

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
TINY = ("-d", "ring8", "--images", "640", "--evaluations", "1", "--samples", "64", "-m", "coverage")
RUN = ("run", "-p", "noise", *TINY, "--executor", "inline", "--seeds", "1")
SAID = "using the trials in results, the default of earlier versions: there is no ganbench-results yet"


def trials(folder: Path) -> int:
    return len(read_records(folder).records)


def test_a_first_run_writes_into_a_folder_of_its_own(ganbench, tmp_path: Path) -> None:
    done = ganbench(*RUN)
    assert done.returncode == 0 and SAID not in done.stderr, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["ganbench-results"] and trials(tmp_path / "ganbench-results")
    again = ganbench("report")
    assert again.returncode == 0 and "noise" in again.stdout


def test_a_clone_with_results_of_its_own_is_left_alone(ganbench, tmp_path: Path) -> None:
    mine = tmp_path / "results/reference/digits/dcgan"
    mine.mkdir(parents=True)
    shutil.copytree(next(REFERENCE.glob("digits/dcgan/seed-0-*")), mine / "seed-0-1602fde4")
    for name in ("README.md", "digits.toml", "trials.csv"):
        (tmp_path / "results" / name).write_text("")
    before = sorted(tmp_path.rglob("*"))
    done = ganbench(*RUN)
    assert done.returncode == 0 and SAID not in done.stderr, done.stderr
    assert trials(tmp_path / "ganbench-results") == 1
    assert sorted(path for path in tmp_path.rglob("*") if "ganbench-results" not in path.parts) == before


def test_trials_under_the_default_of_earlier_versions_are_found_and_continued(ganbench, tmp_path: Path) -> None:
    assert ganbench(*RUN, "--results", "results").returncode == 0
    for words in (["report"], list(RUN), [*RUN[:-1], "2"]):
        done = ganbench(*words)
        assert done.returncode == 0 and done.stderr.count(SAID) == 1, done.stderr
    assert trials(tmp_path / "results") == 2 and not (tmp_path / "ganbench-results").exists()
    (place,) = tmp_path.glob("results/ring8/noise/seed-1-*")
    shown = ganbench("show", place.name[-8:])
    assert shown.returncode == 0 and SAID in shown.stderr
    # Once the new one is there, or a folder is named, the old one counts no more.
    assert ganbench(*RUN, "--results", "ganbench-results").returncode == 0
    done = ganbench("report")
    assert done.returncode == 0 and SAID not in done.stderr and trials(tmp_path / "ganbench-results") == 1
    assert ganbench("show", place.name[-8:]).returncode == 2
    assert ganbench("show", place.name[-8:], "--results", "results").returncode == 0


def test_report_in_an_empty_folder_says_what_makes_results(ganbench, tmp_path: Path) -> None:
    done = ganbench("report")
    assert done.returncode == 2 and "there is no results folder ganbench-results; ganbench run makes one" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        (*RUN, "--results", "file"),
        (*RUN, "--results", "file/below"),
        (*RUN, "--storage", "file"),
        (*RUN, "--storage", "file/below/deep"),
        ("tune", "-p", "vanilla", "--results", "file/below"),
        ("merge", "{results}", "--into", "file"),
        ("merge", "{results}", "--into", "file/below"),
        ("report", "--results", "file"),
        ("selftest", "--results", "file/below"),
        ("sample", "{trial}", "--out", "file/"),
        ("sample", "{trial}", "--out", "file/x.png"),
        ("score", "--real", "digits", "--fake", "{trial}", "--out", "file/x.json"),
        ("compare", "{results}", "{results}", "--html", "file/x.html"),
    ],
    ids=lambda words: f"{words[0]} {words[-2]} {words[-1]}",
)
def test_a_file_where_a_folder_belongs_is_named(words: tuple[str, ...], here, fifteen: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    trial = next(fifteen.glob("digits/dcgan/seed-0-*"))
    done = here(*(word.format(results=fifteen, trial=trial) for word in words))
    assert done.returncode == 2, done.stderr
    assert "file is a file, not a folder" in done.stderr or "there is no folder file" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and "nothing finished was lost" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("option", ["--results", "--storage"])
def test_a_folder_that_may_not_be_written_is_named(option: str, ganbench, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    done = ganbench(*RUN, option, "locked/below")
    assert done.returncode in (2, 3) and "locked" in done.stderr and "Permission denied" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_report_names_every_file_that_it_wrote(here, fifteen: Path, tmp_path: Path) -> None:
    shutil.copytree(fifteen, tmp_path / "ganbench-results")
    done = here("report", "--format", "latex,json")
    last = done.stdout.splitlines()[-1]
    assert done.returncode == 0 and last.startswith("Tables: "), done.stdout
    assert "ganbench-results/leaderboard.tex" in last and "ganbench-results/leaderboard.json" in last
    assert ".csv" not in last and ".html" not in last  # which it did not write
    assert json.loads((tmp_path / "ganbench-results/leaderboard.json").read_text())
    everything = here("report", "--format", "csv,html,md").stdout.splitlines()[-1]
    for name in ("leaderboard.csv", "trials.csv", "leaderboard.html", "leaderboard.md", "trials"):
        assert f"ganbench-results/{name}" in everything, name
    assert ".tex" not in everything


def test_report_tells_how_far_metrics_agree_only_where_it_is_asked_for(here, tmp_path: Path) -> None:
    for record in REFERENCE.glob("digits/*/seed-[0-2]-*/record.json"):
        place = tmp_path / "all" / record.relative_to(REFERENCE)
        place.parent.mkdir(parents=True)
        shutil.copy(record, place)
    done = here("report", "--results", "all", "--format", "csv", "--agreement")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    head = lines.index(["dataset", "protocol", "first", "second", "variants", "spearman", "low", "high"])
    board = pd.read_csv(tmp_path / "all" / "leaderboard.csv")
    ranked = board[board["rank"].notna() & board["recall"].notna()]
    (fid_recall,) = (line for line in lines[head + 1 :] if line[2:4] == ["fid", "recall"])
    assert fid_recall[:2] == ["digits", board["protocol"].iat[0]] and int(fid_recall[4]) == len(ranked)
    rho, low, high = map(float, fid_recall[5:])
    assert rho == round(float(spearmanr(-ranked["fid"], ranked["recall"])[0]), 2) and -1 <= low <= rho <= high <= 1
    silent = here("report", "--results", "all", "--format", "csv")
    assert silent.returncode == 0 and "fid  recall" not in silent.stdout and "spearman" not in silent.stdout

    shutil.copytree(tmp_path / "all/digits/dcgan", tmp_path / "one/digits/dcgan")
    alone = here("report", "--results", "one", "--format", "csv", "--agreement")
    assert alone.returncode == 0 and "No rank correlations" in alone.stdout and "Empty" not in alone.stdout
