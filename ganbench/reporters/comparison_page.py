"""The page of ``ganbench compare --html``: what changed between two results, by how much, with what evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ganbench.analysis.comparison import SIDES, Incomparable
from ganbench.analysis.frames import Trials, final_trials
from ganbench.analysis.ranking import leaderboard
from ganbench.analysis.statistics import ALPHA, Floats
from ganbench.reporters.charts import axis, dots, finite
from ganbench.reporters.formatting import ARROWS, number, p_value
from ganbench.reporters.glossary import COMPARED, TABLE, explained, word_of
from ganbench.reporters.html import page
from ganbench.reporters.sections import judged
from ganbench.reporters.sentences import seeds_text

WIDE, HIGH = 180, 26  # of the strip that has the seeds of both sides
ORDER = {"worse": 0, "better": 1, "no evidence": 2}


def to_page(
    table: pd.DataFrame,
    before: pd.DataFrame,
    after: pd.DataFrame,
    names: tuple[str, str],
    left_out: list[str],
    refused: Sequence[Incomparable] = (),
) -> str:
    """The page of a comparison.

    Args:
        table: what ``ganbench.compare`` found between the two frames.
        names: what the reader calls them.
        left_out: sentences on what only one side has.
        refused: what both have and cannot be compared.
    """
    sides = [final_trials(before), final_trials(after)]
    boards = [leaderboard(side) for side in sides]
    rows = [
        _row(row, sides, boards) for row in sorted(table.to_dict("records"), key=lambda row: ORDER[row["conclusion"]])
    ]
    counts = table["conclusion"].value_counts()
    return page(
        "comparison.html",
        names=names,
        rows=rows,
        counts=[(word, int(counts.get(word, 0))) for word in ORDER],
        left_out=[
            (side, texts) for side in SIDES if (texts := [text for text in left_out if text.endswith(f": only {side}")])
        ],
        refused=refused,
        words=explained([TABLE, COMPARED], table["metric"]),
        level=f"{ALPHA:g}",
        wide=WIDE,
        high=HIGH,
    )


def _row(row: Mapping[Any, Any], sides: list[Trials], boards: list[pd.DataFrame]) -> dict[str, Any]:
    """What the page shows of one variant under one protocol."""
    inside = [_members(side, row) for side in sides]
    metric = row["metric"]
    values = [_values(side, members, metric) for side, members in zip(sides, inside, strict=True)]
    scale = axis(np.concatenate(values))
    strips = []
    for height, found in zip((HIGH * 0.25, HIGH * 0.75), values, strict=True):
        known = found[np.isfinite(found)]
        x = 6 + (WIDE - 12) * scale.share(known) if scale is not None else known
        strips.append(dots(x, np.full(len(known), height)))
    change = row["difference"] / abs(row["before"]) if row["before"] else np.nan
    effect = "" if pd.isna(row["effect"]) else f"{row['effect']:.2f}"
    return {
        **{name: row[name] for name in ("dataset", "extractor", "protocol", "variant", "conclusion", "note")},
        "preset": row.get("preset", ""),
        "metric": f"{word_of(metric)} ({row['extractor']}){_arrow(sides, metric)}",
        **{name: number(row[name]) for name in ("before", "after")},
        "exact": "" if pd.isna(change) else repr(float(change)),
        "change": "" if pd.isna(change) else f"{100 * change:+.3g} %",
        "difference": number(row["difference"]),
        "p": p_value(row["p"]),
        "effect": effect,
        "seeds": f"{row['seeds_before']}, {row['seeds_after']}",
        "shared": _shared(row),
        "needed": seeds_text(row),
        "strips": strips,
        "places": [_place(board, row) for board in boards],
        "others": _others(sides, inside, metric),
    }


def _shared(row: Mapping[Any, Any]) -> str:
    """How far trials of the same seed differ; nothing where no seed is on both sides."""
    seeds = row["seeds_shared"]
    if not seeds:
        return ""
    change = row["largest_change"]
    return f"{seeds} on both sides, {'equal' if change == 0 else f'at most {100 * change:.2g} % apart'}"


def _arrow(sides: list[Trials], metric: str) -> str:
    """Which way is better, as far as either side says: a page or a table of before knows only its primary metrics."""
    return next((ARROWS[found] for side in sides if (found := side.directions.get(metric, "")) in ARROWS), "")


def _members(side: Trials, row: Mapping[Any, Any]) -> np.ndarray:
    context = side.context
    same = (context["dataset"] == row["dataset"]) & (context["variant"] == row["variant"])
    return np.flatnonzero((same & (context["protocol"] == row["protocol"])).to_numpy(bool))


def _values(side: Trials, members: np.ndarray, metric: str) -> Floats:
    """Scores of the trials that completed."""
    if metric not in side.metrics:
        return np.array([])
    done = side.context["status"].to_numpy(object)[members] == "completed"
    return finite(side.values[members[done], side.metrics.index(metric)].tolist())


def _place(board: pd.DataFrame, row: Mapping[Any, Any]) -> dict[str, str]:
    """Rank, tier and verdicts of a variant in its own leaderboard."""
    same = (board["dataset"] == row["dataset"]) & (board["protocol"] == row["protocol"])
    found = board[same & (board["variant"] == row["variant"])]
    if len(found) != 1:  # several sources, of which a leaderboard makes several rows
        return {"rank": "", "verdict": ""}
    line = found.iloc[0]
    rank = "" if pd.isna(line["rank"]) else f"{line['rank']} {line['tier']}"
    return {"rank": rank, "verdict": judged(line)}


def _others(sides: list[Trials], inside: list[np.ndarray], primary: str) -> list[dict[str, str]]:
    """Medians of the metrics beside the primary one: not tested, because one test a row is what the level is for."""
    found = []
    for metric in sides[0].metrics:
        if metric == primary:
            continue
        medians = []
        for side, members in zip(sides, inside, strict=True):
            values = _values(side, members, metric)
            medians.append(float(np.median(known)) if len(known := values[np.isfinite(values)]) else np.nan)
        if not np.isnan(medians).all():
            found.append(
                {
                    "name": f"{word_of(metric)}{_arrow(sides, metric)}",
                    "before": number(medians[0]),
                    "after": number(medians[1]),
                }
            )
    return found
