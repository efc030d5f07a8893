"""What is told of a folder in which a sweep trains: from records, progress files and the plan alone."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from ganbench.reporters import live
from ganbench.reporters.live import Follower
from ganbench.results.film import write_frame
from ganbench.results.plan import FILE, PlanEntry, read_plan, write_plan

PLACES = [f"digits/dcgan/seed-{seed}-0000000{seed}" for seed in range(3)]


def progress(folder: Path, *lines: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "progress.jsonl", "a") as file:
        for line in lines:
            file.write(line if isinstance(line, str) else json.dumps(line) + "\n")


def evaluation(images: int, **values: float | None) -> dict[str, object]:
    return {"evaluation": {"step": images // 64, "images_seen": images, "values": values}}


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Three trials are planned, of which one runs."""
    write_plan(
        tmp_path,
        [PlanEntry(folder=p, title=f"dcgan, {p[13:19]}", images=6400, primary="fid") for p in PLACES],
    )
    progress(tmp_path / PLACES[1], {"attempt": 1}, evaluation(0, fid=9.0), {"images": 640})
    return tmp_path


def test_a_running_trial_is_followed_line_by_line(sweep: Path) -> None:
    follower = Follower(sweep)
    state = follower.state()
    assert (state["finished"], state["planned"], state["waiting"]) == (0, 3, 2)
    assert state["share"] == 640 / (3 * 6400) and state["seconds_left"] is None
    [trial] = state["running"]
    assert trial["title"] == "dcgan, seed-1" and (trial["images"], trial["budget"]) == (640, 6400)
    assert trial["titles"] == {"fid": "FID"}
    assert trial["curves"] == {"fid": [[0, 9.0]]} and trial["silent"] is None and trial["picture"] is None
    # Half a line, what no ganbench wrote, and a point that a resumed trial repeats.
    progress(sweep / PLACES[1], "no json\n", {"images": "many"}, evaluation(1280, fid=None, modes=3.0), '{"images": 19')
    progress(sweep / PLACES[1], "20}\n", evaluation(0, fid=9.0))
    write_frame(sweep / PLACES[1], 1280, np.zeros((64, 1, 8, 8), dtype=np.uint8))
    [trial] = follower.state()["running"]
    assert trial["images"] == 1920 and trial["curves"] == {
        "fid": [[0, 9.0], [1280, None]],
        "modes": [[0, None], [1280, 3.0]],
    }
    assert trial["picture"]["images"] == 1280 and trial["picture"]["url"].startswith("data:image/png")
    json.dumps(follower.state(), allow_nan=False)


def test_a_trial_without_a_word_is_called_silent(sweep: Path) -> None:
    path, long_ago = sweep / PLACES[1] / "progress.jsonl", time.time() - 1000
    os.utime(path, (long_ago, long_ago))
    [trial] = Follower(sweep).state()["running"]
    assert trial["silent"] == pytest.approx(1000, abs=30)


def test_what_is_finished_is_ranked_and_what_failed_is_told(sweep: Path, fifteen: Path) -> None:
    follower = Follower(sweep)
    assert follower.state()["tables"] == []
    for path in sorted(fifteen.glob("digits/*/seed-[0-2]-*")):
        shutil.copytree(path, sweep / path.relative_to(fifteen))
    state = follower.state()
    assert state["finished"] == 9 and len(state["running"]) == 1
    [table] = state["tables"]
    assert table["title"] == "digits" and [row[2] for row in table["rows"]] == [
        "dcgan",
        "vanilla",
        "noise",
        "ideal sampler",
    ]
    assert table["head"][:3] == ["Rank", "Tier", "Variant"] and len({len(row) for row in table["rows"]}) == 1
    damaged = next(sweep.glob("digits/vanilla/seed-0-*/record.json"))
    damaged.write_text("{}")
    follower._took = 0.0  # ranked a moment ago; it would wait
    state = follower.state()
    assert len(state["problems"]) == 1 and str(damaged) in state["problems"][0]


def test_a_trial_that_is_finished_runs_no_more(sweep: Path, fifteen: Path) -> None:
    follower = Follower(sweep)
    assert len(follower.state()["running"]) == 1
    record = next(fifteen.glob("digits/dcgan/seed-0-*/record.json"))
    shutil.copy(record, sweep / PLACES[1] / "record.json")
    (sweep / PLACES[1] / "progress.jsonl").unlink()
    state = follower.state()
    assert state["running"] == [] and state["finished"] == 1 and state["waiting"] == 2
    assert state["share"] == pytest.approx(1 / 3)


def test_the_time_left_follows_from_the_images_a_second(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(live.time, "monotonic", lambda: now)
    follower = Follower(sweep)
    assert follower.state()["seconds_left"] is None
    progress(sweep / PLACES[1], {"images": 1640})
    now = 103.0  # too soon to say
    assert follower.state()["seconds_left"] is None
    now = 110.0
    assert follower.state()["seconds_left"] == pytest.approx((3 * 6400 - 1640) / 100)


def test_trials_may_write_elsewhere_and_a_folder_may_be_empty(sweep: Path, tmp_path: Path) -> None:
    state = Follower(tmp_path / "nothing", work=sweep).state()
    assert state["planned"] == 0 and state["share"] is None
    [trial] = state["running"]
    assert trial["title"] == "dcgan on digits, seed-1" and trial["budget"] is None
    assert Follower(tmp_path / "nothing").state()["running"] == []


def test_large_folders_are_ranked_at_most_a_twentieth_of_the_time(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, calls = 0.0, []
    monkeypatch.setattr(live.time, "monotonic", lambda: now)

    def slow(root):
        nonlocal now
        calls.append(root)
        now += 2.0
        return read(root)

    read = live.read_records
    monkeypatch.setattr(live, "read_records", slow)
    follower = Follower(sweep)
    for seconds in range(1, 100):
        now = max(now, float(seconds))
        folder = sweep / f"digits/dcgan/seed-{seconds + 10}-{seconds:08d}"
        folder.mkdir()
        (folder / "record.json").write_text("{}")
        follower.state()
    assert len(calls) == 3  # at 1, then 40 seconds after each: 43, 85


def test_a_plan_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert read_plan(tmp_path) == []
    for text in ("", "{", "[1]", '[{"folder": "a"}]', "[" * 100_000):
        (tmp_path / FILE).write_text(text)
        assert read_plan(tmp_path) == []
