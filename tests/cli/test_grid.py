"""Rows of one variant side by side: a grid in ``--set``, and a variant that is named twice."""

from __future__ import annotations

import pandas as pd
import pytest

SMALL = ("--seeds", "2", "--images", "640", "--evaluations", "1", "--samples", "64", "-m", "coverage")
TINY = ("-d", "ring8", *SMALL, "--executor", "inline")


def rows(folder, name: str = "leaderboard") -> pd.Series:
    return pd.read_csv(folder / f"ganbench-results/{name}.csv").variant


def test_a_grid_gives_rows_side_by_side_each_with_trials_of_its_own(ganbench, tmp_path) -> None:
    done = ganbench("run", "-p", "vanilla,noise", *TINY, "--set", "vanilla.width=16|32")
    assert done.returncode == 0, done.stderr
    labels = ["noise", "vanilla", "vanilla[width=16]", "vanilla[width=32]"]
    assert sorted(rows(tmp_path)) == labels and "vanilla[width=16]" in done.stdout
    assert rows(tmp_path, "trials").value_counts().to_dict() == dict.fromkeys(labels, 2)
    assert len(list(tmp_path.glob("ganbench-results/ring8/vanilla/seed-*"))) == 6
    # A longer grid adds its row; what is finished stays.
    more = ganbench("run", "-p", "vanilla,noise", *TINY, "--set", "vanilla.width=16|32|64")
    assert more.returncode == 0 and "2 trials to run, 8 finished earlier" in more.stderr, more.stderr
    assert sorted(rows(tmp_path)) == sorted([*labels, "vanilla[width=64]"])


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        (["-p", "vanilla,vanilla", "--set", "vanilla.width=16"], ["vanilla", "vanilla[width=16]"]),
        (["-p", "vanilla", "-p", "vanilla", "--set", "vanilla.width=16"], ["vanilla", "vanilla[width=16]"]),
        (["-p", "vanilla", "--set", "vanilla.width=16"], ["vanilla[width=16]"]),
        (["-p", "vanilla,vanilla"], ["vanilla"]),
        # Two texts of one value, and the default's own, are one row each.
        (["-p", "vanilla", "--set", "vanilla.lr=0.0016|1.6e-3|5e-4|0.0005"], ["vanilla", "vanilla[lr=0.0005]"]),
        (
            ["-p", "vanilla", "--set", "vanilla.width=16|32", "--set", "vanilla.lr=1e-4|5e-4"],
            ["vanilla", *(f"vanilla[lr={lr},width={width}]" for lr in ("0.0001", "0.0005") for width in (16, 32))],
        ),
        (
            ["-p", "vanilla", "--set", "vanilla.width=16|32", "--set", "vanilla.lr=5e-4"],
            ["vanilla", "vanilla[lr=0.0005,width=16]", "vanilla[lr=0.0005,width=32]"],
        ),
    ],
    ids=lambda value: " ".join(value) if value[0] == "-p" else "",
)
def test_which_rows_a_request_has(words: list[str], labels: list[str], ganbench, tmp_path) -> None:
    done = ganbench("run", *words, *TINY, "--dry-run")
    assert done.returncode == 0, done.stderr
    titles = [line.partition(" on ")[0] for line in done.stdout.splitlines() if " on ring8" in line]
    assert sorted(titles) == sorted(labels * 2), done.stdout
    assert not list(tmp_path.iterdir())


def test_a_grid_from_a_file_of_options(ganbench, tmp_path) -> None:
    (tmp_path / "sweep.toml").write_text('plugins = ["vanilla"]\nset = ["vanilla.width=16|32"]\n')
    done = ganbench("run", "--config", "sweep.toml", *TINY, "--dry-run")
    assert done.returncode == 0 and "6 trials to run" in done.stdout + done.stderr, done.stderr


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("vanilla.width=16|", "width"),
        ("vanilla.width=16|wide", "wide"),
        ("vanilla.breadth=16|32", "breadth"),
        ("dcgan.width=16|32", "dcgan is not among --plugins vanilla"),
    ],
)
def test_a_value_of_a_grid_that_cannot_be_is_named(setting: str, told: str, ganbench, tmp_path) -> None:
    done = ganbench("run", "-p", "vanilla", *TINY, "--set", setting)
    assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())
