"""What a reporter is given: the tables of a results folder, and what their columns and rows mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from ganbench.analysis.findings import Findings
    from ganbench.results.schema import Record

PLACE = ("dataset", "extractor", "protocol", "variant")  # what says what a row of the leaderboard is


@dataclass(frozen=True, eq=False)
class Report:
    """The leaderboard and the trials of a results folder, with all that a page says about them.

    Every reporter gets the same one: change nothing in it, work on copies. A dataset's name is that in the records,
    without the ``@1a2b3c4d`` that tables add where one name stands for several contents.

    Attributes:
        leaderboard: one row a variant, on each dataset under each protocol (``ganbench.leaderboard``).
        trials: one row a trial, those that failed too: status, verdict, scores, measures of stability.
        records: the record of each trial, as it stands in its ``record.json``: read again when it is asked for, since
            thousands do not fit into memory.
        metrics: of each metric its ``label``, ``direction`` (min, max, none) and ``rows_per_feature``, if it has one.
        protocols: by the eight digits of the column ``protocol``, the conditions: ``budget_images``, ``samples``, ...
        primary: by dataset, the metric that ranks variants there.
        centres: by dataset, the first two coordinates of the true modes (k, 2), where they are known.
        sizes: by dataset and protocol, ``n`` real and as many generated samples and their ``d`` features, where known.
        findings: what the statistics say: neighbours, ranks without failures, all datasets together.
        columns: of the leaderboard, those that somebody asked for, in that order; empty for all.
    """

    leaderboard: pd.DataFrame
    trials: pd.DataFrame
    records: Sequence[Record] = ()
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    protocols: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    primary: Mapping[str, str] = field(default_factory=dict)
    centres: Mapping[str, list[list[float]]] = field(default_factory=dict)
    sizes: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    findings: Findings | None = None
    columns: Sequence[str] = ()

    @property
    def shown(self) -> pd.DataFrame:
        """``leaderboard`` in the columns that were asked for, after those that say what a row is.

        A metric brings its interval and its floor.
        """
        if not self.columns:
            return self.leaderboard
        ends = ("", "_low", "_high", "_floor", "_floor_sd")
        names = [*PLACE, *(f"{name}{end}" for name in self.columns for end in ends)]
        return self.leaderboard[[name for name in dict.fromkeys(names) if name in self.leaderboard]]
