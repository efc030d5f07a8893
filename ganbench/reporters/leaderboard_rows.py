"""Rows of the leaderboard page: scores with a tick for each seed, spreads, costs, badges of what is unequal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ganbench.analysis.environments import MOST_TOLD, flat
from ganbench.analysis.statistics import Floats, Spread
from ganbench.reporters.charts import Axis, axis, finite
from ganbench.reporters.formatting import number, seeds, thousands
from ganbench.reporters.sections import Section, judged, marks, score_interval
from ganbench.reporters.trials import Trial, nondeterministic
from ganbench.utils.console import first_few

STRIP, STRIP_HEIGHT = 84, 12  # of the strip below a score, on which each seed has its place
FIGURES = (
    ("seed_sd", "Seeds", "s.d."),
    ("sampling_sd", "Samples", "s.d."),
    ("time", "Time", "s a trial"),
    ("memory", "Memory", "MB"),
    ("parameters", "Parameters", ""),
    ("rate", "Images/s", ""),
)


def table(
    section: Section, trials: Mapping[str, Sequence[Trial]], superseded: Mapping[str, int], keys: Mapping[str, int]
) -> list[dict[str, Any]]:
    """The rows of a section as the template has them; ``superseded`` counts each variant's trials of earlier code."""
    scales = {metric: _scale(section, metric, trials) for metric in section.metrics}
    most = max((int(n) for n in section.rows["seeds"]), default=0)
    usual = _in_usual_environment([trial for own in trials.values() for trial in own])
    found = []
    for _, row in section.rows.iterrows():
        own = trials.get(row["variant"], [])
        words = Counter(trial.word for trial in own if trial.word)
        found.append(
            {
                **row[["tier", "variant", "seeds", "failed"]],
                "verdict": judged(row),
                "key": keys[str(row["variant"])],
                "role": ", ".join([_role(own)] * bool(_role(own)) + marks(row)),
                "rank": "" if pd.isna(row["rank"]) else row["rank"],
                "words": " ".join(sorted(words)),
                "bad": any(word not in ("stable", "unknown") for word in words),
                "scores": [_score(section, row, m, own, scales[m]) for m in section.metrics if section.shows(m)],
                "figures": _figures(row, own),
                "badges": _badges(row, own, most, usual, superseded),
            }
        )
    return found


def _role(own: Sequence[Trial]) -> str:
    """``baseline`` or ``planted``; nothing for what is ranked."""
    roles = {str(trial.about.get("role", "variant")) for trial in own}
    return "" if "variant" in roles or len(roles) != 1 else roles.pop()


def _scale(section: Section, metric: str, trials: Mapping[str, Sequence[Trial]]) -> Axis | None:
    """From what is ranked and the floor: noise would press all others together, and stands at the end."""
    ranked = [own for own in trials.values() if not _role(own)] or list(trials.values())
    values = [trial.about.get(metric) for own in ranked for trial in own if trial.completed]
    return axis(finite([*values, *section.rows[f"{metric}_floor"].dropna()[:1]]))


def _score(section: Section, row: Any, metric: str, own: Sequence[Trial], scale: Axis | None) -> dict[str, Any]:
    value = row[metric]
    values = finite([trial.about.get(metric) for trial in own if trial.completed])
    strip = ""
    if scale is not None and np.isfinite(values).any():
        with np.errstate(invalid="ignore", divide="ignore"):
            strip = _ticks(scale.share(values))
    exact = "" if pd.isna(value) else repr(float(value))
    return {
        "metric": metric,
        "text": number(value),
        "exact": exact,
        "interval": score_interval(row, metric),
        "seeds": strip,
    }


def _ticks(shares: Floats) -> str:
    """A stroke for each value of a strip; what lies beyond its scale stands at its end."""
    places = 1 + (STRIP - 2) * np.clip(np.nan_to_num(shares, nan=np.nan, posinf=1, neginf=0), 0, 1)
    return "".join(f"M{x:.1f} 1v{STRIP_HEIGHT - 2}" for x in places.tolist() if np.isfinite(x))


def floors(section: Section, trials: Mapping[str, Sequence[Trial]]) -> list[dict[str, Any]]:
    """The floor of each metric, and where it stands among the dots."""
    found = []
    for metric in filter(section.shows, section.metrics):
        value = finite([*section.rows[f"{metric}_floor"].dropna()[:1]])
        scale, text = _scale(section, metric, trials), section.floor(metric)
        at = _ticks(scale.share(value)) if len(value) and scale else ""
        found.append({"metric": metric, "text": text, "seeds": at})
    return found


def _figures(row: Any, own: Sequence[Trial]) -> list[dict[str, Any]]:
    """The parts of the score's spread; medians over completed trials: seconds, megabytes, parameters, images/s."""

    def middle(values: Iterable[Any], scale: float = 1.0) -> float | None:
        known = [float(value) * scale for value in values if value]
        return float(np.median(known)) if known else None

    done = [trial for trial in own if trial.completed]
    figures = (
        middle(trial.cost.get("wall_seconds") for trial in done),
        middle((trial.cost.get("peak_memory_bytes") for trial in done), 1e-6),
        middle(sum(trial.record.parameters.values() if trial.record else ()) for trial in done),
        middle(trial.cost.get("images_per_second") for trial in done),
    )
    parts = [None if pd.isna(value) else float(value) for value in row[list(Spread._fields)]]
    texts = [*map(number, parts), *map(thousands, figures)]
    return [
        {"name": name, "exact": "" if value is None else repr(value), "text": text}
        for (name, _, _), value, text in zip(FIGURES, (*parts, *figures), texts, strict=True)
    ]


def _in_usual_environment(trials: Sequence[Trial]) -> Trial | None:
    """A trial that ran where most trials did."""
    counted = Counter(trial.environment for trial in trials)
    return min(trials, key=lambda trial: (-counted[trial.environment], trial.environment), default=None)


def _badges(
    row: Any, own: Sequence[Trial], most: int, usual: Trial | None, superseded: Mapping[str, int]
) -> list[tuple[str, str]]:
    """Why a row does not quite compare with the others: a word, and the reason."""
    found = []
    if row["failed"]:
        statuses = Counter(str(trial.about["status"]) for trial in own if not trial.completed)
        told = ", ".join(f"{n} {status}" for status, n in sorted(statuses.items()))
        found.append(
            ("failures", f"{row['failed']} of {row['seeds']} trials failed ({told}); scores are of the others")
        )
    if row["seeds"] < most:
        found.append(("fewer seeds", f"{row['seeds']} instead of {most}: seeds {seeds(t.seed for t in own)}"))
    others = [trial for trial in own if usual is not None and trial.environment != usual.environment]
    if others and usual is not None:
        which = seeds(trial.seed for trial in others)
        found.append(
            ("environment", f"seeds {which} ran in another environment than most: {_differs(others[0], usual)}")
        )
    unsteady = {trial.seed: operations for trial in own if (operations := nondeterministic(trial))}
    if unsteady:
        names = ", ".join(sorted({name for some in unsteady.values() for name in some}))
        found.append(("bits vary", f"seeds {seeds(unsteady)} may not repeat: no deterministic kernel for {names}"))
    name, at, digest = str(row["variant"]).rpartition("@")
    if at:
        found.append(
            ("source", f"the table holds {name} more than once; {digest} begins the hash of what made this row")
        )
    if n := superseded.get(str(row["variant"]).partition("@")[0], 0):
        found.append(("superseded", f"{n} trials of earlier code are in superseded/ and count nowhere"))
    return found


def _differs(trial: Trial, usual: Trial) -> str:
    """In which fields two environments differ, as far as records are there to say."""
    here, there = (flat(side.record.environment if side.record else {}) for side in (trial, usual))
    names = [name for name in sorted(here | there) if here.get(name) != there.get(name)]
    told = [f"{name} {here.get(name)} instead of {there.get(name)}" for name in names]
    return first_few(told, MOST_TOLD, "; ") or "its hash differs"
