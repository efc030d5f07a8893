"""Follows a results folder while a sweep trains in it: what is finished, what runs, what failed, what it looks like.

It reads records and progress files alone, so it can begin before a sweep, outlive it, and follow one that runs
elsewhere into a folder that both machines see.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from ganbench.analysis.stability import UNSTABLE
from ganbench.reporters.glossary import word_of
from ganbench.reporters.pictures import film_frames
from ganbench.reporters.report import build_report
from ganbench.reporters.sections import LEGEND, cells, sections
from ganbench.results.plan import PlanEntry, read_plan
from ganbench.results.progress import FILE as PROGRESS
from ganbench.results.progress import ProgressReader
from ganbench.results.store import SET_ASIDE, read_records
from ganbench.utils.errors import printable
from ganbench.utils.files import leads_outside

SILENT = 120  # seconds after which a trial without a word is called silent
MOST_TOLD = 50  # trials that failed or were unstable
SHARE = 20  # tables are made anew after this many times the time that they took
SPEED_SECONDS = 5  # over which the speed of a sweep is measured at least


class Running:
    """A trial that has begun and has no record: what its progress file says.

    Attributes:
        images: that it has seen. evaluations: by images seen, the values of each metric.
    """

    def __init__(self, folder: Path) -> None:
        self.progress = ProgressReader(folder / PROGRESS)
        self.images = 0
        self.evaluations: dict[int, dict[str, float | None]] = {}

    def follow(self) -> None:
        """Read what is new."""
        for entry in self.progress.new_lines():
            self.images = max(self.images, entry.images or 0)
            if entry.evaluation is not None:
                self.images = max(self.images, entry.evaluation.images_seen)
                self.evaluations[entry.evaluation.images_seen] = dict(entry.evaluation.values)


class Follower:
    """What is to be told of a results folder, brought up to date whenever it is asked for.

    Args:
        root: the results folder.
        work: where running trials write, if not there.
    """

    def __init__(self, root: Path, work: Path | None = None) -> None:
        self.root, self.work = root, work or root
        self._lock = threading.Lock()
        self._running: dict[str, Running] = {}
        self._finished: frozenset[tuple[str, int, int]] = frozenset()
        self._tables: dict[str, Any] = {"tables": [], "failures": [], "centres": {}, "problems": []}
        self._made, self._took = 0.0, 0.0
        self._speed: tuple[float, int] | None = None

    def state(self) -> dict[str, Any]:
        """Everything that the live page shows, as JSON has it."""
        with self._lock:
            now = time.time()
            finished, running = self._places()
            self._make_tables(finished)
            plan = {trial.folder: trial for trial in read_plan(self.root)}
            told = [self._tell(place, plan.get(place), now) for place in sorted(running)]
            done = {place for place, _, _ in finished}
            total = sum(trial.images for trial in plan.values())
            seen = sum(trial.images for place, trial in plan.items() if place in done)
            seen += sum(min(trial["images"], plan[trial["place"]].images) for trial in told if trial["place"] in plan)
            return {
                "folder": str(self.root),
                "finished": len(done),
                "planned": len(plan),
                "waiting": sum(place not in done and place not in running for place in plan),
                "share": seen / total if total else None,
                "seconds_left": self._seconds_left(seen, total),
                "running": told,
                **{name: self._tables[name] for name in ("tables", "failures", "problems")},
                "legend": LEGEND,
            }

    def _places(self) -> tuple[frozenset[tuple[str, int, int]], set[str]]:
        """Records with their times and sizes, and trials that have begun, by their folders below the root."""
        finished, running = set(), set()
        for path in self.root.glob("*/*/seed-*/record.json"):
            place = path.parent.relative_to(self.root)
            if place.parts[0] not in SET_ASIDE:
                about = path.lstat()
                finished.add((place.as_posix(), about.st_mtime_ns, about.st_size))
        done = {place for place, _, _ in finished}
        for path in self.work.glob(f"*/*/seed-*/{PROGRESS}"):
            place = path.parent.relative_to(self.work)
            if place.parts[0] not in SET_ASIDE and place.as_posix() not in done:
                running.add(place.as_posix())
        for gone in set(self._running) - running:
            del self._running[gone]
        return frozenset(finished), running

    def _tell(self, place: str, planned: PlanEntry | None, now: float) -> dict[str, Any]:
        """A trial that runs: how far it is, its curves, its newest picture."""
        folder = self.work / place
        trial = self._running.setdefault(place, Running(folder))
        trial.follow()
        dataset, variant, name = place.split("/")
        centres = self._tables["centres"].get(dataset) or (planned.centres if planned else [])
        frames = film_frames(folder, self.work, centres, newest=True)
        points = sorted(trial.evaluations)
        metrics = dict.fromkeys(metric for values in trial.evaluations.values() for metric in values)
        silent = now - trial.progress.changed
        return {
            "place": place,
            "dataset": dataset,
            "title": planned.title if planned else f"{variant} on {dataset}, {name.rpartition('-')[0]}",
            "primary": planned.primary if planned else "",
            "images": trial.images,
            "budget": planned.images if planned else None,
            "silent": round(silent) if silent > SILENT else None,
            "curves": {m: [[x, trial.evaluations[x].get(m)] for x in points] for m in metrics},
            "titles": {m: word_of(m) for m in metrics},
            "picture": frames[-1] if frames else None,
        }

    def _make_tables(self, finished: frozenset[tuple[str, int, int]]) -> None:
        """Rank what is finished, if something new is; large folders take seconds, so those wait a while."""
        if finished == self._finished or time.monotonic() - self._made < SHARE * self._took:
            return
        start = time.monotonic()
        contents = read_records(self.root)
        report = build_report(contents.records)
        tables = []
        for section in sections(report) if contents.records else ():
            head, rows = cells(section)
            tables.append({"title": section.dataset, "note": section.conditions, "head": head, "rows": rows})
        failures = []
        for trial in report.trials.to_dict("records"):
            ended = trial["status"] != "completed"
            if ended or trial["verdict"] in UNSTABLE:
                note = f" ({trial['note']})" if trial["note"] else ""
                why = f"failed, {trial['status']}: {trial['reason']}"
                why = why if ended else f"unstable, {trial['verdict']}{note}: {trial['evidence']}"
                title = f"{trial['variant']} on {trial['dataset']}, seed {trial['seed']}"
                failures.append({"title": title, "why": printable(why), "trial": trial["trial"]})
        self._tables = {
            "tables": tables,
            "failures": failures[-MOST_TOLD:],
            "centres": dict(report.centres),
            "problems": [printable(f"{problem.path}: {problem.reason}") for problem in contents.problems],
        }
        self._finished, self._made = finished, time.monotonic()
        self._took = self._made - start

    def _seconds_left(self, seen: int, total: int) -> float | None:
        """By the images a second since this was first asked; None before that says something."""
        now = time.monotonic()
        if self._speed is None or seen < self._speed[1]:
            self._speed = now, seen
        start, first = self._speed
        if seen == first or now - start < SPEED_SECONDS or seen >= total:
            return None
        return (total - seen) * (now - start) / (seen - first)


def page_file(root: Path, name: str) -> Path | None:
    """The report page of that name in a results folder, if it is there and does not lead elsewhere."""
    path = root / name
    return path if path.is_file() and not leads_outside(path, root) else None
