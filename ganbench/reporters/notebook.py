"""``ganbench.load_results`` and ``ganbench.leaderboard``: frames that a notebook shows as tables with labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ganbench.analysis import frames, ranking
from ganbench.analysis.frames import PROTOCOL_FIELDS, Source, Trials
from ganbench.plugin.report import Report
from ganbench.reporters.html import fragment
from ganbench.reporters.sections import LEGEND, cells, sections

SHOWN_ROWS = 10
SHOWN = ["dataset", "variant", "seed", "status", "verdict", "note", "images_seen", "metric", "value", "final"]


class Results(pd.DataFrame):
    """A tidy frame of trials that a notebook shows as a summary; whatever is taken out of it is a plain DataFrame."""

    def _repr_html_(self) -> str | None:
        if not set(SHOWN) <= set(self.columns):
            return pd.DataFrame(self)._repr_html_()  # type: ignore[operator]
        ends = self[self["final"].astype(bool)].drop_duplicates(["dataset", "protocol", "variant", "seed", "trial"])
        counts = ends.groupby(["dataset", "protocol", "variant"], sort=True)["status"].agg(["size", _failed])
        rows = [
            list(map(str, [*names, *numbers])) for names, numbers in zip(counts.index, counts.to_numpy(), strict=True)
        ]
        some = self[SHOWN].head(SHOWN_ROWS)
        tables = [
            {
                "title": f"{len(ends):,} trials",
                "head": ["dataset", "protocol", "variant", "trials", "failed"],
                "rows": rows,
            },
            {
                "title": f"The first {len(some)} of {len(self):,} rows, a row a trial, evaluation and metric",
                "head": SHOWN,
                "rows": some.astype(str).to_numpy().tolist(),
            },
        ]
        return fragment(tables, "ganbench.leaderboard(frame) ranks them.")


def _failed(statuses: pd.Series[str]) -> int:
    return int((statuses != "completed").sum())


class Leaderboard(pd.DataFrame):
    """A leaderboard that a notebook shows as the page does; whatever is taken out of it is a plain DataFrame.

    Attributes:
        about: ``metrics``, ``protocols`` and ``primary`` of a ``ganbench.plugin.Report``, as far as they are known.
    """

    _metadata = ["about"]  # tells pandas that it is no column
    about: dict[str, Any]

    def _repr_html_(self) -> str | None:
        if not {"rank", "tier", "variant", "verdict", "seeds", "failed"} <= set(self.columns):
            return pd.DataFrame(self)._repr_html_()  # type: ignore[operator]
        tables = []
        for section in sections(Report(self, pd.DataFrame(columns=["dataset", "protocol"]), **self.about)):
            head, rows = cells(section)
            tables.append({"title": f"{section.dataset}. {section.conditions}", "head": head, "rows": rows})
        return fragment(tables, LEGEND)


def load_results(path: Path | str) -> pd.DataFrame:
    """The records below a results folder as one tidy frame: a row for each trial, evaluation and metric.

    Damaged records are left out with a warning that names them. ``ganbench.analysis.frames.to_frame`` has the columns.
    """
    return Results(frames.load_results(path))


def leaderboard(source: Source) -> pd.DataFrame:
    """Rank the variants of each dataset and protocol: ``ganbench.analysis.ranking.leaderboard``, which has the columns.

    ``source`` is a frame of ``load_results``, or records.
    """
    trials = frames.final_trials(source)
    board = Leaderboard(ranking.leaderboard(trials))
    board.about = _about(source, trials)
    return board


def _about(source: Source, trials: Trials) -> dict[str, dict[str, object]]:
    """What a table says beside its cells, as far as the frame says it."""
    context = trials.context
    labels = {}
    if isinstance(source, pd.DataFrame):
        named = source.drop_duplicates("metric")
        labels = dict(zip(named["metric"], named["metric_label"], strict=True))
    about = {
        name: {"label": labels.get(name, name), "direction": trials.directions.get(name, "none")}
        for name in trials.metrics
    }
    protocols = context.drop_duplicates("protocol")
    facts = protocols[list(PROTOCOL_FIELDS)].to_dict("records")
    return {
        "metrics": dict(about),
        "protocols": dict(zip(protocols["protocol"], facts, strict=True)),
        "primary": dict(zip(context["dataset"], context["primary"], strict=True)),
    }
