"""Expected lengths of trials, the order that follows from them, and what a dry run says of it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from ganbench.results.records import compose
from ganbench.results.schema import Outcome, Record, Reference
from ganbench.results.spec import Planned, Protocol, TrialSpec
from ganbench.results.store import Store
from ganbench.runner.estimates import Estimates, makespan
from ganbench.runner.planning import Plan
from ganbench.runner.preview import preview


def trial(
    variant: str, dataset: str = "ring8", seed: int = 0, images: int = 1000, engine: str = "serial", **values: Any
) -> Planned:
    protocol = Protocol(images, 64, "cpu", "identity", "e" * 64, 100, 10, engine=engine)
    spec = TrialSpec(variant, "d", "a" * 64, values, dataset, "d" * 64, seed, protocol)
    metrics = {"fid": {"label": "FID", "direction": "min"}}
    return Planned(spec, variant, "variant", "fid", metrics, {"packages": {}}, "cpu")


def finish(store: Store, one: Planned, training: float, evaluation: float, **cost: Any) -> Record:
    record = compose(one, Reference(), {"fid": 0.0}, Outcome(status="completed", reason=None))
    about = {"training_seconds": training, "evaluation_seconds": evaluation, "wall_seconds": training + evaluation}
    store.finish(one.spec, record, about | cost)
    return record


def test_a_trial_is_expected_to_take_what_its_nearest_kin_took(tmp_path: Path) -> None:
    store = Store(tmp_path)
    records = [
        finish(store, trial("slow", seed=0), 90, 10),
        finish(store, trial("slow", seed=1), 110, 10),
        finish(store, trial("slow", seed=2), 100, 10),
        finish(store, trial("slow", width=64), 400, 20),
        finish(store, trial("fast"), 10, 10),
    ]
    estimates = Estimates(store, records)
    assert estimates.seconds(trial("slow", seed=9)) == pytest.approx(110)
    assert estimates.seconds(trial("slow", seed=9, images=3000)) == pytest.approx(310)
    assert estimates.seconds(trial("slow", width=64)) == pytest.approx(420)
    assert estimates.seconds(trial("slow", width=32)) == pytest.approx(115)  # the median of the variant's four
    assert estimates.seconds(trial("new")) == pytest.approx(110)  # of all five there
    assert estimates.seconds(trial("slow", dataset="digits")) is None
    wanted = [trial("fast", seed=5), trial("slow", seed=5), trial("slow", "digits"), trial("fast", seed=6)]
    assert [wanted.index(one) for (one,) in estimates.longest_first(wanted)] == [2, 1, 0, 3]


def test_seeds_that_train_together_are_one_job_whose_length_is_their_sum(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    records = [finish(store, trial("wide"), 90, 10), finish(store, trial("wide", engine="seeds"), 30, 10)]
    estimates = Estimates(store, records)
    wanted = [trial("wide", seed=1), *(trial("wide", seed=seed, engine="seeds") for seed in (1, 2, 3, 10))]
    assert [[one.spec.seed for one in job] for job in estimates.longest_first(wanted)] == [[1, 2, 3], [1], [10]]
    assert [estimates.job_seconds(job) for job in estimates.longest_first(wanted)] == pytest.approx([120, 100, 40])
    preview(Plan([trial("wide"), *wanted], [], []), store, slots=2)
    assert "5 of 5 trials to run are expected to take 260 s" in (out := capsys.readouterr().out)
    assert "140 s at 2 at a time" in out


def test_on_several_devices_a_ten_is_cut_into_as_many_groups_and_each_takes_as_long_as_the_ten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    ten = [finish(store, trial("wide", seed=seed, engine="seeds"), 30, 10, together=10) for seed in range(10)]
    pair = [finish(store, trial("wide", seed=seed, engine="seeds"), 150, 10, together=2) for seed in (20, 21)]
    wanted = [trial("wide", seed=seed, engine="seeds") for seed in range(30, 40)]
    for known in (ten, pair, ten + pair):
        estimates = Estimates(store, known)
        (whole,) = estimates.longest_first(wanted)
        assert estimates.job_seconds(whole) == pytest.approx(300 + 100)
        groups = estimates.longest_first(wanted, 4)
        assert sorted(map(len, groups)) == [2, 2, 3, 3]
        assert sorted(one.spec.seed for job in groups for one in job) == list(range(30, 40))
        assert [estimates.job_seconds(job) for job in groups] == pytest.approx([330, 330, 320, 320])
    assert sorted(map(len, estimates.longest_first(wanted, 64))) == [1] * 10
    two = [*wanted, *(trial("other", seed=seed, engine="seeds") for seed in range(10))]
    assert sorted(map(len, estimates.longest_first(two, 2))) == [10, 10]  # each device has one already
    assert sorted(map(len, estimates.longest_first(two, 5))) == [5, 5, 5, 5]
    serial = [trial("wide", seed=seed) for seed in range(3)]
    assert sorted(map(len, estimates.longest_first([*serial, *wanted], 8))) == [1, 1, 1, 5, 5]
    eight = tuple(f"cuda:{number}" for number in range(8))
    for slots, seconds in ((8, 320), (1, 400), (2, 350)):  # no more groups than run at a time
        preview(Plan(wanted, [], [], devices=eight), store, slots)
        assert f"{seconds} s at {slots} at a time" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"training_seconds": NaN}', '{"training_seconds": -1}', "[" * 9999])
def test_a_cost_that_says_nothing_is_not_believed(text: str, tmp_path: Path) -> None:
    store, one = Store(tmp_path), trial("slow")
    record = finish(store, one, 10, 1)
    (store.folder(one.spec) / "cost.json").write_text(text)
    assert Estimates(store, [record]).seconds(one) is None


def test_longest_first_ends_within_graham_s_bound() -> None:
    assert makespan([3, 3, 2, 2, 2], 2) == 7 and makespan([2, 2, 2, 3, 3], 2) == 7 and makespan([5], 9) == 5
    assert makespan([1, 1, 1, 1, 4], 2) == 6 and makespan([4, 1, 1, 1, 1], 2) == 4
    rng = random.Random(0)
    for _ in range(100):
        seconds, slots = [rng.expovariate(1) for _ in range(60)], rng.randint(1, 20)
        least = max(sum(seconds) / slots, max(seconds))
        assert least <= makespan(sorted(seconds, reverse=True), slots) * (1 + 1e-9)
        assert makespan(sorted(seconds, reverse=True), slots) <= 4 / 3 * least + max(seconds) / 3


def test_a_dry_run_shows_order_and_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    finish(store, trial("fast"), 10, 2)
    finish(store, trial("slow"), 100, 2)
    before = json.dumps(sorted(str(path) for path in tmp_path.rglob("*")))
    planned = [trial("fast"), trial("fast", seed=1), trial("slow", seed=1), trial("slow", seed=2)]
    assert preview(Plan(planned, [], []), store, slots=2) == 0
    assert preview(Plan(planned, [], [], ["slow cannot be built"]), store, slots=2) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:5]] == [
        "slow on ring8, seed 1",
        "slow on ring8, seed 2",
        "fast on ring8, seed 0",
        "fast on ring8, seed 1",
    ]
    assert lines[1].split()[-3:] == ["new", "102", "s"] and lines[3].split()[-1] == "completed"
    assert "3 of 3 trials to run are expected to take 216 s" in lines[5] and "114 s at 2 at a time" in lines[5]
    assert before == json.dumps(sorted(str(path) for path in tmp_path.rglob("*")))
