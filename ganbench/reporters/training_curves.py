"""Training curves: of all variants on the leaderboard page, median over seeds, and of one trial on its own page."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ganbench.analysis.stability import UNSTABLE
from ganbench.analysis.statistics import Floats
from ganbench.reporters.charts import Series, finite, lines
from ganbench.reporters.formatting import ARROWS, ordered, titled
from ganbench.reporters.sections import Section
from ganbench.reporters.trials import Trial, Variants
from ganbench.results.schema import Evaluation, Record

AXES = (("images", "real images seen"), ("updates", "updates of the generator"), ("seconds", "seconds of training"))
# Of one trial: title, where it stands in an evaluation's ``watch``, and the names of its lines.
_D = (("test", "held-out real"), ("train", "training real"), ("fake", "fake"))


def section_curves(section: Section, rows: Variants) -> list[dict[str, Any]]:
    """A chart of every metric that was computed during training: the median over seeds, from lowest to highest."""
    found = []
    prepared = []
    for key, name, own in rows:
        known = [(trial, trial.record) for trial in own if trial.record is not None]
        grid = _grid([record for _, record in known])
        scored = [{entry.images_seen: entry.values for entry in record.evaluations} for _, record in known]
        courses = [[values.get(images, {}) for images in grid.tolist()] for values in scored]
        prepared.append((key, name, known, _paces(known), grid, courses))
    for metric in section.metrics:
        series = []
        for key, name, trials, paces, grid, courses in prepared:
            if len(grid) < 2:
                continue
            table = np.array([finite([values.get(metric) for values in course]) for course in courses])
            if np.isfinite(table).any(axis=0).sum() < 2:  # only at the end of training
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # a point that no seed reached has no median
                whole = np.isfinite(table).all()  # then what skips nothing says the same ten times as fast
                functions = (np.median, np.min, np.max) if whole else (np.nanmedian, np.nanmin, np.nanmax)
                middle, low, high = (f(table, axis=0) for f in functions)
            marks = [
                (float(grid[place]), float(values[place]), f"{name}, seed {trial.seed}: {trial.judged}")
                for (trial, record), values in zip(trials, table, strict=True)
                if trial.word in UNSTABLE and (place := _place(trial, record, grid)) is not None
            ]
            series.append(Series(name, grid, middle, low, high, key, paces, marks, key))
        log = None if section.direction(metric) == "min" else False
        if chart := lines(section.title(metric), series, AXES, log):
            found.append({**chart, "metric": metric, "arrow": section.arrow(metric)})
    return found


def _grid(records: Sequence[Record]) -> Floats:
    """Every number of images at which some trial was scored."""
    return np.array(sorted({entry.images_seen for record in records for entry in record.evaluations}), dtype=float)


def _place(trial: Trial, record: Record, grid: Floats) -> int | None:
    """Where on the grid a verdict belongs that says where it fell; the last evaluation for one that does not."""
    seen = record.evaluations[-1].images_seen if record.evaluations else None
    at = trial.images if trial.images is not None else seen
    return None if at is None else min(int(np.searchsorted(grid, at)), len(grid) - 1)


def _paces(trials: Sequence[tuple[Trial, Record]]) -> dict[str, float]:
    """Updates and seconds that pass while a variant sees one image: the median over its trials."""
    updates, seconds = [], []
    for trial, record in trials:
        last = record.evaluations[-1] if record.evaluations else None
        if last is not None and (images := last.images_seen):
            counts = (last.watch and last.watch.updates) or {}
            updates.append(counts.get("generator", max(counts.values(), default=0)) / images)
            if trial.cost.get("training_seconds"):
                seconds.append(trial.cost["training_seconds"] / images)
    found = {"updates": updates, "seconds": seconds}
    return {name: float(np.median(values)) for name, values in found.items() if values and np.median(values) > 0}


def trial_curves(record: Record, mark: tuple[int, str] | None) -> list[dict[str, Any]]:
    """Charts of one trial: every metric, losses, the discriminator on real and fake, gradient and parameter norms.

    ``mark``: the images at which its verdict fell, and the verdict.
    """
    evaluations = record.evaluations
    if len(evaluations) < 2:
        return []
    grid = finite([entry.images_seen for entry in evaluations])
    axes = AXES[:1]

    def draw(title: str, named: Mapping[str, Floats], **options: Any) -> dict[str, Any] | None:
        series = []
        for style, (name, values) in enumerate(named.items()):
            marks = []
            if mark is not None:
                place = min(int(np.searchsorted(grid, mark[0])), len(grid) - 1)
                marks = [(float(grid[place]), float(values[place]), mark[1])]
            series.append(Series(name, grid, values, style=style, marks=marks, key=style))
        return lines(title, series, axes, **options)

    charts = []
    metrics = record.metrics
    for name in ordered(metrics):
        about = metrics[name]
        values = finite([entry.values.get(name) for entry in evaluations])
        title = titled(about, record.identity.evaluation.extractor)
        log = None if about.direction == "min" else False
        if np.isfinite(values[:-1]).any() and (chart := draw(title, {about.label: values}, log=log)):
            charts.append({**chart, "arrow": ARROWS.get(about.direction, "")})

    watch = _Watch(evaluations)
    norms = {
        f"{end}{role}": watch("gradient_norms", role, which)
        for which, end in (("median", ""), ("max", "max "))
        for role in watch.roles("gradient_norms")
    }
    drawn = (
        draw("losses, mean since the point before", {role: watch("losses", role) for role in watch.roles("losses")}),
        draw("D's score, mean", {text: watch("d_scores", name, "mean") for name, text in _D}),
        draw("D's AUC, real against fake", {"held-out": watch("d_auc"), "training": watch("d_auc_train")}, log=False),
        draw("D is right on", {text: watch(_accuracy(name)) for name, text in _D}),
        draw("gradient norm, median and highest", norms),
        draw("parameter norm", {role: watch("parameter_norms", role) for role in watch.roles("parameter_norms")}),
    )
    return [*charts, *(chart for chart in drawn if chart)]


def watched(evaluations: Sequence[Evaluation]) -> Iterator[tuple[str, Floats]]:
    """What was watched at the evaluations, a name and a course each, as far as it is there."""
    watch = _Watch(evaluations)
    found = {f"loss, {role}": watch("losses", role) for role in watch.roles("losses")}
    found |= {f"D on {text}, mean score": watch("d_scores", name, "mean") for name, text in _D}
    found |= {f"D is right on {text}": watch(_accuracy(name)) for name, text in _D}
    found |= {
        f"gradient norm, {role}": watch("gradient_norms", role, "median") for role in watch.roles("gradient_norms")
    }
    return ((title, course) for title, course in found.items() if np.isfinite(course).any())


def _accuracy(name: str) -> str:
    return f"d_accuracy_{'real' if name == 'test' else name}"


class _Watch:
    """Courses out of the evaluations' ``watch``, as far as it is there."""

    def __init__(self, evaluations: Sequence[Evaluation]) -> None:
        self.evaluations = evaluations

    def __call__(self, *names: str) -> Floats:
        return finite([self._inside(entry, *names) for entry in self.evaluations])

    def roles(self, name: str) -> list[str]:
        found: dict[str, None] = {}
        for entry in self.evaluations:
            found |= dict.fromkeys(role[:40] for role in self._inside(entry, name) or {})
        return list(found)[:8]

    def _inside(self, entry: Evaluation, field: str, *names: str) -> Any:
        """A field of ``watch``, or what stands there under nested names; None where it is not there."""
        value = entry.watch and getattr(entry.watch, field)
        for name in names:
            value = (value or {}).get(name)
        return value
