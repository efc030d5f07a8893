"""The tables of a search: ``tuning.csv``, ``tuning_curve.csv``, ``tuning.md``, and the one on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ganbench.analysis.frames import final_trials
from ganbench.analysis.ranking import primary_scores
from ganbench.analysis.statistics import LEVEL, Floats, interval, sample_of
from ganbench.reporters.csv import to_csv
from ganbench.reporters.formatting import ARROWS, number
from ganbench.reporters.markdown import to_table
from ganbench.results.schema import Record
from ganbench.results.spec import Planned
from ganbench.results.store import Store
from ganbench.utils import canonical_json
from ganbench.utils.files import write_atomic

SHOWN = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # budgets of the curve that a person reads


@dataclass(frozen=True)
class Scored:
    """A finished trial with its score: a failed one counts as a constant at the real mean."""

    trial: Planned
    record: Record
    score: float


@dataclass
class Search:
    """One variant on one dataset: the configurations in the order in which they were proposed, then the final seeds.

    Attributes:
        tried: configuration i at place i; configuration 0 has the defaults.
        default, best: trials of the final seeds; of the same configuration if nothing beat the defaults.
    """

    variant: str
    dataset: str
    tried: list[Scored] = field(default_factory=list)
    default: list[Scored] = field(default_factory=list)
    best: list[Scored] = field(default_factory=list)

    @property
    def scores(self) -> list[float]:
        return [one.score for one in self.tried]

    @property
    def direction(self) -> Literal["min", "max"]:
        trial = self.tried[0].trial
        return "max" if trial.metrics[trial.primary]["direction"] == "max" else "min"

    @property
    def chosen(self) -> int:
        """Place of the best score; of equal ones the first, so that the defaults win a tie."""
        return int(np.argmax(self.scores) if self.direction == "max" else np.argmin(self.scores))


def score(store: Store, trials: Sequence[Planned]) -> list[Scored]:
    """Finished trials of one dataset and protocol, in their order, scored as the leaderboard scores them."""
    records = [store.find(trial.spec) for trial in trials]
    known = [record for record in records if record is not None]
    final = final_trials(known)
    primary = primary_scores(final, np.arange(len(final.context)))
    scores = primary.scores
    if np.isnan(scores).any():  # completed without the primary metric: no better than the worst
        worst = np.nanmin if primary.direction == "max" else np.nanmax
        scores = np.where(np.isnan(scores), worst(np.r_[scores, 0.0]), scores)
    by_id = dict(zip(final.context["trial"], scores, strict=True))
    pairs = zip(trials, known, strict=True)
    return [Scored(trial, record, float(by_id[trial.spec.id])) for trial, record in pairs]


def write_tables(searches: Sequence[Search], folder: Path) -> None:
    """Write the two CSV files and the Markdown page: a pure function of the records of the searches."""
    write_atomic(folder / "tuning.csv", to_csv(configurations(searches)).encode())
    write_atomic(folder / "tuning_curve.csv", to_csv(curves(searches)).encode())
    write_atomic(folder / "tuning.md", to_markdown(searches).encode())


def configurations(searches: Sequence[Search]) -> pd.DataFrame:
    """Every configuration that was tried: its score, and whether it was ``chosen`` for the final seeds."""
    lines = []
    for search in searches:
        for place, one in enumerate(search.tried):
            spec = one.trial.spec
            lines.append(
                {
                    **_about(search),
                    "configuration": place,
                    "label": one.trial.label,
                    "hyperparameters": canonical_json.dumps(spec.hyperparameters),
                    "seed": spec.seed,
                    "status": one.record.status,
                    "reason": one.record.reason or "",
                    "score": one.score,
                    "chosen": "best" if place == search.chosen else "",
                    "trial": spec.id,
                }
            )
    return pd.DataFrame(lines)


def curves(searches: Sequence[Search]) -> pd.DataFrame:
    """The expected best score of every budget, and its 95 % range (``best_of``)."""
    lines = []
    for search in searches:
        curve = zip(*best_of(search.scores, search.direction), strict=True)
        for budget, (expected, low, high) in enumerate(curve, start=1):
            lines.append({**_about(search), "budget": budget, "expected_best": expected, "low": low, "high": high})
    return pd.DataFrame(lines)


def _about(search: Search) -> dict[str, Any]:
    trial = search.tried[0].trial
    return {
        "dataset": search.dataset,
        "extractor": trial.spec.protocol.extractor,
        "protocol": trial.spec.identity.protocol,
        "variant": search.variant,
        "metric": trial.primary,
    }


def to_markdown(searches: Sequence[Search]) -> str:
    """A section for each dataset: what was tried and found, and what a smaller budget would have found."""
    parts = ["# Tuning\n"]
    for dataset in dict.fromkeys(search.dataset for search in searches):
        mine = [search for search in searches if search.dataset == dataset]
        parts.append(f"## {dataset}\n\n{_sentence(mine)}\n")
        parts += [to_table(*summary(mine)), to_table(*expectations(mine))]
    return "\n".join(parts)


def _sentence(searches: Sequence[Search]) -> str:
    trial = searches[0].tried[0].trial
    return (
        f"Scores are {_metric(trial)}{ARROWS.get(searches[0].direction, '')}; each configuration was trained once, on "
        f"{trial.spec.protocol.budget_images:,} images, and configuration 0 has the variant's defaults. A failed trial "
        "counts as a constant at the real mean. Final: median [interval] over seeds that the search did not use. The "
        "second table holds the best score to expect from so many configurations, and its range in 95 % of cases."
    )


def _metric(trial: Planned) -> str:
    return f"{trial.metrics[trial.primary]['label']} ({trial.spec.protocol.extractor})"


def summary(searches: Sequence[Search]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows: of each variant what was tried, the best configuration, and the final seeds."""
    headings = ["Variant", "Tried", "Failed", "Best in search", "Score", "Final, best", "Final, defaults"]
    rows = []
    for search in searches:
        best = search.tried[search.chosen]
        failed = sum(one.record.status != "completed" for one in search.tried)
        row = [search.variant, str(len(search.tried)), str(failed), best.trial.label, number(best.score)]
        rows.append([*row, _final(search.best), _final(search.default)])
    return headings, rows


def _final(trials: Sequence[Scored]) -> str:
    """Median and interval over completed trials, as the leaderboard has them, and how many failed."""
    done = [one.score for one in trials if one.record.status == "completed"]
    failed = f"{len(trials) - len(done)} of {len(trials)} failed" if len(done) < len(trials) else ""
    if not done:
        return failed
    low, high, _ = interval(done)
    spread = f"[{number(low)}, {number(high)}]" if len(done) > 1 else ""
    return " ".join(filter(None, (number(float(np.median(done))), spread, failed)))


def expectations(searches: Sequence[Search]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows: of each variant the expected best score at some budgets."""
    most = max(len(search.tried) for search in searches)
    budgets = sorted({most, *(k for k in SHOWN if k < most)})
    rows = []
    for search in searches:
        curve = best_of(search.scores, search.direction)
        cells = [
            f"{number(curve.expected[k - 1])} [{number(curve.low[k - 1])}, {number(curve.high[k - 1])}]"
            if k <= len(search.tried)
            else ""
            for k in budgets
        ]
        rows.append([search.variant, *cells])
    return ["Expected best of", *map(str, budgets)], rows


class Curve(NamedTuple):
    """Best score of a budget of 1 to n configurations: each ``(n,)``, in the scores' unit."""

    expected: Floats
    low: Floats
    high: Floats


def best_of(scores: ArrayLike, direction: Literal["min", "max"]) -> Curve:
    """Expected best of k of the n ``scores``, and the range that holds it in 95 % of cases, for every k.

    Both are exact over all subsets of size k, drawn without replacement: with the scores in order, the best
    one first, the i-th is the best of a subset with probability ``C(n - i, k - 1) / C(n, k)``. The range runs
    from the 2.5 to the 97.5 % quantile of that distribution; at ``k = n`` there is one subset, and both ends are its
    best score. Lucic et al., "Are GANs Created Equal? A Large-Scale Study" (2018), section 5, and Dodge et
    al., "Show Your Work: Improved Reporting of Experimental Results" (2019), section 3, compare models by
    this curve (the latter draws with replacement).

    Raises ValueError without a score, or with one that is not finite.
    """
    ordered = sample_of(scores)
    if direction == "max":
        ordered = ordered[::-1]
    n = len(ordered)
    place = np.arange(1, n)
    quantiles = np.array([1 - LEVEL, 1 + LEVEL]) / 2 - 1e-12  # what a sum reaches but for its rounding, it reaches
    found = np.empty((3, n))
    for k in range(1, n + 1):
        weights = k / n * np.cumprod(np.r_[1.0, np.maximum(n - place - k + 1, 0) / (n - place)])
        reached = np.cumsum(weights)
        ends = np.minimum(np.searchsorted(reached, quantiles), n - k)
        found[:, k - 1] = (weights @ ordered, *np.sort(ordered[ends]))
    return Curve(*found)
