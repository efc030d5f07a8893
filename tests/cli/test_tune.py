"""``ganbench tune``: its curve against brute force, its configurations, and a whole search that is killed."""

from __future__ import annotations

import itertools
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganbench.cli.selftest import contents
from ganbench.cli.tune import _require_all
from ganbench.executors import EngineLost
from ganbench.results.store import read_records
from ganbench.runner.scheduler import NOT_RUN
from ganbench.tuning.proposals import Proposer, rounds
from ganbench.tuning.tables import Scored, Search, best_of
from ganbench.utils.errors import UsageError


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-3, 5), min_size=1, max_size=7), st.sampled_from(["min", "max"]))
def test_the_curve_is_that_of_every_subset(scores: list[int], direction: str) -> None:
    curve = best_of(scores, direction)
    best = min if direction == "min" else max
    for k in range(1, len(scores) + 1):
        found = sorted(best(subset) for subset in itertools.combinations(scores, k))
        assert curve.expected[k - 1] == pytest.approx(mean(found))
        # A quantile from the good end, so that both directions are mirror images.
        ends = found if direction == "min" else found[::-1]
        places = [next(i for i in range(len(ends)) if (i + 1) / len(ends) >= q - 1e-12) for q in (0.025, 0.975)]
        assert [curve.low[k - 1], curve.high[k - 1]] == sorted(ends[place] for place in places)


def test_the_curve_of_many_configurations_stays_exact() -> None:
    scores = np.random.default_rng(0).lognormal(size=1000)
    curve = best_of(scores, "min")
    assert curve.expected[0] == pytest.approx(scores.mean()) and curve.expected[-1] == pytest.approx(scores.min())
    assert (np.diff(curve.expected) <= 1e-12).all()
    assert (curve.low <= curve.high).all() and (curve.low <= curve.expected + 1e-9).all()
    mirrored = best_of(-scores, "max")
    assert np.allclose(-mirrored.expected, curve.expected) and np.allclose(-mirrored.low, curve.high)
    for bad in ([], [1.0, np.nan], [np.inf]):
        with pytest.raises(ValueError):
            best_of(bad, "min")


SPACE = {
    "lr": {"low": 1e-5, "high": 1e-2, "log": True, "whole": False},
    "beta": {"low": 0.0, "high": 0.95, "log": False, "whole": False},
    "width": {"low": 8, "high": 256, "log": True, "whole": True},
    "norm": {"choices": [False, True]},
    "loss": {"choices": ["bce", "hinge", None]},
}
BASE = {"beta": 0.5, "fixed": 3, "loss": "bce", "lr": 1e-3, "norm": True, "width": 32}


def proposer(sampler: str = "random", seed: int = 0, variant: str = "dcgan", **base: object) -> Proposer:
    return Proposer(variant, SPACE, {**BASE, **base}, sampler, seed, "min")


def test_random_configurations_are_a_pure_function_of_seed_variant_and_number() -> None:
    found = [proposer().configuration(i) for i in range(200)]
    assert found[0] == BASE
    assert found[150] == proposer().configuration(150, [(BASE, 1.0)]), "whatever came before it"
    assert found[5] != proposer(seed=1).configuration(5) and found[5] != proposer(variant="vanilla").configuration(5)
    assert len({tuple(one.values()) for one in found}) == 200
    for one in found[1:]:
        assert list(one) == list(BASE) and one["fixed"] == 3
        assert 1e-5 <= one["lr"] <= 1e-2 and one["lr"] == float(f"{one['lr']:.3g}") and 0 <= one["beta"] <= 0.95
        assert type(one["width"]) is int and 8 <= one["width"] <= 256
    assert {one["norm"] for one in found} == {True, False} and {one["loss"] for one in found} == {"bce", "hinge", None}
    # Uniform on the declared scale: half of the draws lie below the middle of the logarithms.
    assert 75 < sum(one["lr"] < 10**-3.5 for one in found) < 125 and 75 < sum(one["width"] < 45 for one in found) < 125


def test_tpe_learns_from_the_scores_of_earlier_rounds_and_from_nothing_else() -> None:
    def score(values: dict) -> float:
        return abs(np.log10(values["lr"]) + 4.5) + values["norm"]

    def search(seed: int) -> list[dict]:
        told: list[tuple[dict, float]] = []
        for numbers in rounds("tpe", 40):
            new = [proposer("tpe", seed, lr=0.5).configuration(i, told) for i in numbers]  # 0.5: a default out of range
            told += [(values, score(values)) for values in new]
        return [values for values, _ in told]

    found = search(0)
    assert found == search(0)
    learned = [score(values) for values in found]
    blind = [score(proposer().configuration(i)) for i in range(40)]
    assert np.median(learned[20:]) < np.median(blind) / 2


def test_rounds() -> None:
    assert rounds("random", 25) == [range(25)]
    assert rounds("tpe", 25) == [range(10), range(10, 20), range(20, 25)]


def test_a_range_that_is_none_is_named() -> None:
    with pytest.raises(UsageError, match="my-gan: lr cannot be searched as its author declares it"):
        Proposer(
            "my-gan", {"lr": {"low": 0.0, "high": 1.0, "log": True, "whole": False}}, {"lr": 1}, "random", 0, "min"
        )


# A variant whose coverage of ring8 is a known function of its hyperparameters, and that fails where it is told to.
KNOB = """
import math, time
from typing import Annotated
import torch
from ganbench.plugin import Range, Variant, hookimpl

class Knob(Variant):
    "True points of ring8 with noise added."
    name = "knob"

    def __init__(self, shape, spread: Annotated[float, Range(1e-3, 1.0, log=True)] = 0.5, broken: bool = False, **rest):
        super().__init__(shape, spread=spread, broken=broken, **rest)

    def train_step(self, batch, clock):
        time.sleep(0.01)
        if self.broken:
            raise RuntimeError("broken on purpose")
        return {}

    def sample(self, n, rng=None):
        angle = torch.randint(8, (n,), generator=rng) * math.pi / 4
        points = torch.stack([angle.cos(), angle.sin()], 1)
        return points + (0.01 + self.spread) * torch.randn(n, 2, generator=rng)

@hookimpl
def ganbench_variants():
    return [Knob]
"""
SMALL = ("-d", "ring8", "--images", "640", "--evaluations", "1", "--samples", "200", "-m", "coverage")
INLINE = ("--executor", "inline")
COMMAND = ("tune", "-p", "knob", "--trials", "4", "--seeds", "2", *SMALL)


@pytest.fixture
def site(install: Callable[..., Path]) -> Path:
    return install("ganbench-knob", {"knob.py": KNOB}, {"knob": "knob"})


def test_a_search_killed_in_both_halves_ends_in_the_same_bytes(site: Path, ganbench, start, tmp_path: Path) -> None:
    whole = ganbench(*COMMAND, "--results", "whole", "--jobs", "2", site=site)
    assert whole.returncode == 0, whole.stderr
    knob = pd.read_csv(tmp_path / "whole/tuning.csv", keep_default_na=False)
    assert knob.configuration.tolist() == list(range(4)) and knob.seed.tolist() == list(range(1000, 1004))
    assert knob.label.iloc[0] == "knob" and knob.hyperparameters.iloc[0] == '{"broken":false,"spread":0.5}'
    failed = knob[knob.status != "completed"]
    assert 0 < len(failed) < 3 and (failed.score == 0).all(), "a failure counts as a constant, which covers nothing"
    assert failed.label.str.contains("broken=True").all() and failed.reason.str.contains("on purpose").all()
    best = knob[knob.chosen == "best"]
    assert len(best) == 1 and best.score.iloc[0] == knob.score.max() > 0.9 > knob.score.iloc[0]
    curve = pd.read_csv(tmp_path / "whole/tuning_curve.csv").set_index("budget")
    assert curve.loc[1, "expected_best"] == pytest.approx(knob.score.mean())
    assert curve.loc[4, "expected_best"] == pytest.approx(knob.score.max())

    board = pd.read_csv(tmp_path / "whole/final/leaderboard.csv")
    assert set(board.variant) == {"knob", best.label.iloc[0]} and (board.seeds == 2).all()
    assert board.variant.iloc[0] == best.label.iloc[0] and not board.failed.any()
    seeds = {record.identity.trial.seed for record in read_records(tmp_path / "whole/final").records}
    assert seeds == {0, 1}
    splits = {
        half: {record.identity.evaluation.split for record in read_records(tmp_path / "whole" / half).records}
        for half in ("search", "final")
    }
    assert splits == {"search": {"validation"}, "final": {"test"}}, "what chooses is not what is reported"
    assert best.label.iloc[0] in whole.stdout and "Expected best of" in whole.stdout
    page = (tmp_path / "whole/tuning.md").read_text()
    assert "## ring8" in page and "Recovered mass (identity)" in page and best.label.iloc[0] in page

    for folder in ("search", "final"):
        command = (*COMMAND, "--jobs", "1", "--results", "killed")
        process = start(*command, until=f"killed/{folder}/*/*/*/record.json", PYTHONPATH=str(site))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    again = ganbench(*COMMAND, "--results", "killed", "--jobs", "2", site=site)
    assert again.returncode == 0 and "0 trials to run, 4 finished earlier" in again.stderr, again.stderr
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")

    few = ganbench(*COMMAND, "--results", "killed", "--trials", "1", *INLINE, site=site)
    assert few.returncode == 0, few.stderr
    assert set(pd.read_csv(tmp_path / "killed/final/leaderboard.csv").variant) == {"knob"}
    assert len(list(tmp_path.glob("killed/final/superseded/*/*/seed-*"))) == 2

    before = contents(tmp_path / "killed")
    other = ganbench(*COMMAND, "--results", "killed", "--images", "1280", *INLINE, site=site)
    assert other.returncode == 2 and "another budget" in other.stderr and "--results" in other.stderr
    assert contents(tmp_path / "killed") == before


def test_a_configuration_can_be_chosen_by_hand_on_the_split_of_the_search(site: Path, ganbench, tmp_path: Path) -> None:
    searched = ganbench("tune", "-p", "knob", "--trials", "1", "--seeds", "1", *SMALL, *INLINE, site=site)
    assert searched.returncode == 0, searched.stderr
    (first,) = read_records(tmp_path / "tuning/search").records
    folder = next((tmp_path / "tuning/search").rglob("record.json")).parent
    assert "--reference validation" in ganbench("show", str(folder), site=site).stdout, "how to repeat it"
    words = ("-p", "knob", "--seeds", "1000,", *SMALL, "--reference", "validation", *INLINE)
    by_hand = ganbench("run", *words, "--results", "hand", site=site)
    assert by_hand.returncode == 0, by_hand.stderr
    (again,) = read_records(tmp_path / "hand").records
    assert again.identity == first.identity and again.values == first.values
    refused = ganbench(*COMMAND, "--reference", "validation", *INLINE, site=site)
    assert refused.returncode == 2 and "test or train" in refused.stderr


@pytest.mark.slow  # pytest -m slow tests/cli/test_tune.py
def test_tpe_gives_the_same_search_with_any_number_of_jobs(site: Path, ganbench, tmp_path: Path) -> None:
    command = ("tune", "-p", "knob", "--trials", "22", "--sampler", "tpe", "--seeds", "2", *SMALL)
    for jobs in ("1", "3"):
        done = ganbench(*command, "--jobs", jobs, "--results", jobs, site=site)
        assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "1") == contents(tmp_path / "3")


def test_dry_run_lists_the_search_and_changes_nothing(site: Path, ganbench, tmp_path: Path) -> None:
    listed = ganbench(*COMMAND, "-p", "noise", "--set", "knob.broken=false", "--dry-run", *INLINE, site=site)
    assert listed.returncode == 0, listed.stderr
    lines = listed.stdout.splitlines()
    assert lines[1].split() == ["knob", "on", "ring8,", "seed", "1000", "640", "new", "unknown"]
    assert [line.count("knob[spread=") for line in lines[2:5]] == [1] * 3 and "broken" not in listed.stdout
    assert "noise on ring8, seed 1000" in lines[5] and "over 2 fresh seeds" in lines[6], "noise has nothing to search"
    assert not (tmp_path / "tuning").exists()
    shared = ganbench(*COMMAND, "--search-seed", "0", *INLINE, site=site)
    assert shared.returncode == 2 and "seed 0 is in --seeds and among the search's own, 0 to 3" in shared.stderr


def test_without_optuna_the_extra_is_named(ganbench, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none/optuna.py").write_text("raise ImportError('not here')")
    refused = ganbench("tune", "-p", "noise", site=tmp_path / "none")
    assert refused.returncode == 2 and "pip install 'ganbench[tune]'" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(("direction", "scores"), [("min", [3.0, 1.0, 1.0, 2.0]), ("max", [1.0, 4.0, 4.0, 2.0])])
def test_of_equal_scores_the_first_is_chosen(direction: str, scores: list[float]) -> None:
    trial = SimpleNamespace(primary="fid", metrics={"fid": {"direction": direction}})
    search = Search("dcgan", "digits", [Scored(trial, None, score) for score in scores])
    assert search.chosen == 1
    search.tried[:0] = [Scored(trial, None, search.scores[1])]
    assert search.chosen == 0  # the defaults, which are the first


def test_a_search_does_not_choose_among_what_is_left_where_trials_were_not_run_for_want_of_a_gpu() -> None:
    _require_all(Counter({"completed": 3, "error": 1}))
    with pytest.raises(EngineLost, match="2 trials could not be run"):
        _require_all(Counter({"completed": 3, NOT_RUN: 2}))
