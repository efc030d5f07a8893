"""Statistics beside the leaderboard: tests of neighbours, ranks without failures, interquartile means.

All are pure functions of the records, one row a variant or a pair of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ganbench.analysis.aggregation import Across, aggregate, common_variants, profile
from ganbench.analysis.frames import Source, final_trials
from ganbench.analysis.ranking import Table, tables
from ganbench.analysis.statistics import ALPHA, interquartile_mean, seeds_needed, superiority

SEEDS_NEEDED = ["seeds_needed", "seeds_needed_low", "seeds_needed_high"]


@dataclass(frozen=True, eq=False)
class Findings:
    """What ``neighbours``, ``ranks``, ``interquartile_means``, ``across`` and ``profiles`` say of the same trials."""

    neighbours: pd.DataFrame
    ranks: pd.DataFrame
    interquartile_means: pd.DataFrame
    across: Across
    profiles: pd.DataFrame


def findings(source: Source) -> Findings:
    """All of them; ``source`` is a frame of ``load_results``, or records."""
    trials = final_trials(source)
    found = list(tables(trials))
    common = common_variants(trials, found)
    return Findings(_neighbours(found), _ranks(found), _interquartile_means(found), aggregate(common), profile(common))


def neighbours(source: Source) -> pd.DataFrame:
    """Each ranked variant with the next one, and how many seeds a side would separate them at power 0.8.

    Columns: dataset, protocol, rank, variant, next, effect (P(variant beats next)), p (Holm over all
    pairs of the table; NaN below 5 seeds), separated, better (whose mean, on the scale of the tests, is the
    better one where they are separated, else ""), seeds_needed and the ends of its 95 % interval, seeds_needed_low
    and seeds_needed_high (all empty below 10 seeds a side and where they do not say; the last also where it has no
    bound). With heavy tails ``better`` can be the second, whose median is not.
    """
    return _neighbours(tables(final_trials(source)))


def ranks(source: Source) -> pd.DataFrame:
    """Ranks with and without failures: dataset, protocol, variant, rank, rank_completed.

    ``rank_completed`` goes by the median over completed trials alone; empty if there is none.
    """
    return _ranks(tables(final_trials(source)))


def interquartile_means(source: Source) -> pd.DataFrame:
    """Interquartile means of the primary metric over completed trials: dataset, protocol, variant, value, low, high.

    Only variants with at least 8 of these have one, as ``statistics.interquartile_mean`` explains.
    """
    return _interquartile_means(tables(final_trials(source)))


def _neighbours(found: Iterable[Table]) -> pd.DataFrame:
    lines = []
    for table in found:
        # The letters come from as many tests as there are pairs once every variant has its seeds.
        tests = max(len(table.ranked) * (len(table.ranked) - 1) // 2, 1)
        for i, (row, following) in enumerate(zip(table.ranked, table.ranked[1:], strict=False)):
            p = float(table.separation.p[i, i + 1])
            effect = superiority(row.scores, following.scores, table.direction)
            needed = seeds_needed(row.tested, following.tested, tests)
            if needed is not None and not p <= ALPHA:
                # Where spreads or numbers of seeds differ, Welch's test asks for more than the pooled one expects.
                least = min(len(row.tested), len(following.tested)) + 1
                needed = needed._replace(value=max(needed.value, least))
            ahead = (row.tested.mean() < following.tested.mean()) == (table.direction == "min")
            better = (row.variant if ahead else following.variant) if p <= ALPHA else ""
            line = [table.dataset, table.protocol, table.ranks[i], row.variant, following.variant]
            lines.append([*line, effect, p, p <= ALPHA, better, *(needed or (None, None, None))])
    head = ["dataset", "protocol", "rank", "variant", "next", "effect", "p", "separated", "better"]
    head += SEEDS_NEEDED
    return pd.DataFrame(lines, columns=pd.Index(head, dtype=object)).astype(dict.fromkeys(SEEDS_NEEDED, "Int64"))


def _ranks(found: Iterable[Table]) -> pd.DataFrame:
    lines = []
    for table in found:
        sign = -1 if table.direction == "max" else 1
        medians = [sign * float(np.median(row.completed)) if len(row.completed) else None for row in table.ranked]
        for row, rank, mine in zip(table.ranked, table.ranks, medians, strict=True):
            place = None if mine is None else 1 + sum(other is not None and other < mine for other in medians)
            lines.append([table.dataset, table.protocol, row.variant, rank, place])
    head = ["dataset", "protocol", "variant", "rank", "rank_completed"]
    return pd.DataFrame(lines, columns=pd.Index(head, dtype=object)).astype(
        {"rank": "Int64", "rank_completed": "Int64"}
    )


def _interquartile_means(found: Iterable[Table]) -> pd.DataFrame:
    lines = []
    for table in found:
        for row in table.ranked:
            if len(row.completed) and (middle := interquartile_mean(row.completed)):
                lines.append([table.dataset, table.protocol, row.variant, *middle])
    head = ["dataset", "protocol", "variant", "value", "low", "high"]
    return pd.DataFrame(lines, columns=pd.Index(head, dtype=object))
