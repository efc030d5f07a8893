"""Do the statistics keep their word? Simulated benchmarks whose truth is known.

    python benchmarks/simulation.py                 # the tables of docs/statistics.md, some minutes on one core
    python benchmarks/simulation.py --repeats 200   # a tenth of it
    python benchmarks/simulation.py --only letters  # one of the parts

Scores of every trial are drawn from a known distribution. Intervals are those of ``statistics.interval`` and letters
those of ``tiers.separate``, which ``ganbench.leaderboard`` shows. For power, scores are put into frames as
``ganbench.load_results`` returns them, all benchmarks at a time as so many datasets, and given to
``ganbench.leaderboard`` itself; for tiers across datasets, to ``ganbench.across``. Prints Markdown. A cell that
misses its bound is marked with *.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from draws import DRAWS, Draw
from scipy import stats

import ganbench
from ganbench.analysis.aggregation import _interquartile
from ganbench.analysis.frames import COLUMNS
from ganbench.analysis.measures import SHOWN
from ganbench.analysis.statistics import interval, seeds_needed, seeds_to_separate, true_coverage
from ganbench.analysis.tiers import separate

CONSTANT, FLOOR = 100.0, 0.5
LEAST, MOST = 93.0, 97.0
SPLIT = 6.0
POWER_VARIANTS = (2, 5, 12, 20)


def frame(
    scores: np.ndarray, failed: np.ndarray | None = None, direction: str = "min", floor: float = FLOOR
) -> pd.DataFrame:
    """Trials with these scores, as ``ganbench.load_results`` returns them without histories.

    Args:
        scores: ``(datasets, variants, seeds)`` of the primary metric: ``fid`` if ``direction`` is ``min``, else
            ``coverage``. NaN where there is no such trial.
        failed: which of them failed, of the same shape; none if None.
        floor: of every dataset. A constant scores 100 or, in coverage, 0.
    """
    there = ~np.isnan(scores)
    dataset, variant, seed = np.nonzero(there)
    failures = np.zeros_like(there) if failed is None else failed
    bad = failures[there]
    metric = "fid" if direction == "min" else "coverage"
    columns: dict[str, Any] = {
        **dict.fromkeys(COLUMNS, ""),
        **dict.fromkeys((*SHOWN, "verdict_step", "verdict_images", "sampling_sd"), np.nan),
        "dataset": np.array([f"data-{i:05}" for i in range(len(scores))], dtype=object)[dataset],
        "variant": np.array([f"v{i:02}" for i in range(scores.shape[1])], dtype=object)[variant],
        "seed": seed,
        "status": np.where(bad, "crashed", "completed").astype(object),
        "verdict": np.where(bad, "", "stable").astype(object),
        "value": np.where(bad, np.nan, scores[there]),
        "floor": floor,
        "floor_sd": np.nan,
        "failure_score": CONSTANT if direction == "min" else 0.0,
        "images_seen": 64_000,
        "position": 0,
        "final": True,
        "extractor": "cnn",
        "protocol": "0a1b2c3d",
        "role": "variant",
        "primary": metric,
        "metric": metric,
        "metric_label": metric,
        "direction": direction,
        "hyperparameters": "{}",
        "trial": [f"{i:08x}" for i in range(len(seed))],
    }
    return pd.DataFrame(columns)[COLUMNS]


def covered(draw: Draw, repeats: int, seeds: int) -> tuple[float, float]:
    """Share in % of intervals that hold the true median of trials that complete, and the share that they state."""
    rng = np.random.default_rng([0, draw.stream, 1, seeds])
    scores = draw.scores(rng, (repeats, seeds))
    failed = rng.random(scores.shape) < draw.failed
    found = [interval(row[~bad]) for row, bad in zip(scores, failed, strict=True) if not bad.all()]
    hits = [one.low <= draw.median <= one.high for one in found]
    return 100 * float(np.mean(hits)), 100 * float(np.mean([one.coverage for one in found]))


def split(draw: Draw, repeats: int, variants: int, seeds: int) -> float:
    """Share in % of benchmarks in which some of these equal variants share no letter."""
    rng = np.random.default_rng([0, draw.stream, variants, seeds])
    scores = draw.scores(rng, (repeats, variants, seeds))
    worst = CONSTANT if draw.direction == "min" else 0.0
    scores = np.where(rng.random(scores.shape) < draw.failed, worst, scores)
    tested = np.log(scores) if draw.direction == "min" else scores
    return 100 * float(np.mean([_apart(separate(list(one)).letters) for one in tested]))


def _apart(tiers: list[str]) -> bool:
    """Whether two variants have no letter in common; with at most 26 variants a letter is one character."""
    return any(not set(a) & set(b) for i, a in enumerate(tiers) for b in tiers[:i])


def power(repeats: int, variants: int, seeds: int, step: float) -> float:
    """Share in % of neighbours told apart on a ladder of ``step`` standard deviations of the log score each."""
    rng = np.random.default_rng([1, variants, seeds])
    ladder = step * np.arange(variants)[:, None]
    scores = np.exp(0.3 * (rng.normal(size=(repeats, variants, seeds)) + ladder)) / 10
    tiers = ganbench.leaderboard(frame(scores)).set_index(["dataset", "variant"])["tier"].unstack()
    pairs = zip(tiers.columns, tiers.columns[1:], strict=False)
    return 100 * float(np.mean([[_apart([a, b]) for a, b in zip(tiers[x], tiers[y], strict=True)] for x, y in pairs]))


def looked_again(repeats: int, variants: int) -> tuple[float, float]:
    """Share in % of benchmarks of equal variants that find a difference at ten seeds, and at ten or, if not, at more.

    The second look has as many seeds as the page names for the pair of neighbours that is nearest to a difference, at
    most 40.
    """
    rng = np.random.default_rng([4, variants])
    once = twice = 0
    for _ in range(repeats):
        scores = rng.normal(size=(variants, 40))
        order = np.argsort(np.median(scores[:, :10], axis=1))
        ranked = [scores[i, :10] for i in order]
        if _apart(separate(ranked).letters):
            once += 1
            twice += 1
            continue
        pairs = variants * (variants - 1) // 2
        named = [seeds_needed(a, b, pairs) for a, b in pairwise(ranked)]
        more = min([one.value for one in named if one is not None], default=10)
        twice += more > 10 and _apart(separate([scores[i, : min(more, 40)] for i in order]).letters)
    return 100 * once / repeats, 100 * twice / repeats


def equal_medians(repeats: int, seeds: int) -> float:
    """Share in % of pairs told apart of which one collapses (eight times the score) in 20 % of trials.

    Its median is the other's but for 0.1 standard deviations.
    """
    rng = np.random.default_rng([5, seeds])
    found = 0
    for _ in range(repeats):
        plain, other = 0.3 * rng.normal(size=(2, seeds))
        found += _apart(separate([plain, other + np.log(8) * (rng.random(seeds) < 0.2)]).letters)
    return 100 * found / repeats


def planned(repeats: int, seeds: int) -> tuple[float, float, float, float, float]:
    """Seeds needed where 17 are true (a difference of one standard deviation), from so many seeds a side.

    The 10, 50 and 90 % quantiles of the estimate; the share in % of 95 % intervals that hold 17, and of estimates
    that are given at all.
    """
    rng = np.random.default_rng([6, seeds])
    values, held, given = [], 0, 0
    for _ in range(repeats):
        a, b = rng.normal(size=seeds), 1 + rng.normal(size=seeds)
        if (value := seeds_to_separate(a, b)) is not None:
            values.append(value)
        if (one := seeds_needed(a, b)) is not None:
            given += 1
            held += one.low <= 17 <= (one.high or 10**9)
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
    return low, middle, high, 100 * held / max(given, 1), 100 * given / repeats


def aggregated(repeats: int, datasets: int, seeds: int, failed: float = 0.0) -> float:
    """Share in % of intervals of the normalised score over datasets that hold the true interquartile mean."""
    rng = np.random.default_rng([2, datasets, seeds])
    centres = np.linspace(np.log(1), np.log(20), datasets)[:, None]

    def draw(n: int) -> list[np.ndarray]:
        score = np.exp(centres + 0.3 * rng.normal(size=(datasets, n)))
        score = np.where(rng.random(score.shape) < failed, CONSTANT, score)
        return list(1 - (np.sqrt(score) - np.sqrt(FLOOR)) / (np.sqrt(CONSTANT) - np.sqrt(FLOOR)))

    truth = float(stats.trim_mean(np.concatenate(draw(200_000)), 0.25))
    found = [_interquartile([np.sort(x) for x in draw(seeds)]) for _ in range(repeats)]
    return 100 * float(np.mean([low <= truth <= high for _, low, high in found]))


def false_ranks(repeats: int, datasets: int, variants: int) -> float:
    """Share in % of suites of equal variants in which the tiers over datasets tell some apart."""
    rng = np.random.default_rng([3, datasets, variants])
    found = 0
    for _ in range(repeats):
        scores = np.exp(0.3 * rng.normal(size=(datasets, variants, 5)) + rng.normal(size=(datasets, 1, 1)))
        found += _apart(ganbench.across(frame(scores))["tier"].tolist())
    return 100 * found / repeats


def table(headings: Iterable[Any], rows: Iterable[Iterable[Any]]) -> str:
    lines = [list(map(str, headings)), *(list(map(str, row)) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _mark(value: float, kept: bool, digits: int = 1) -> str:
    return f"{value:.{digits}f}{'' if kept else ' *'}"


def _intervals(repeats: int) -> str:
    sizes = (3, 4, 5, 6, 8, 10, 20)
    rows = []
    for name, draw in DRAWS.items():
        cells = []
        for n in sizes:
            found, stated = covered(draw, repeats, n)
            kept = LEAST <= found <= MOST if stated == 95 else abs(found - stated) <= 2
            cells.append(_mark(found, kept) + (f" ({stated:.1f})" if draw.failed else ""))
        rows.append([name, *cells])
    stated = [f"n = {n} ({100 * true_coverage(n):.4g})" for n in sizes]
    text = f"Intervals that hold the true median, %, {repeats:,} benchmarks a cell; in brackets what they state."
    return f"{text}\n\n" + table(["scores", *stated], rows)


def _letters(repeats: int) -> str:
    cases = [(k, n) for k in (2, 6, 12) for n in (5, 8, 10)]
    repeats = max(repeats // 2, 1)
    rows = []
    for name, draw in DRAWS.items():
        found = [split(draw, repeats, k, n) for k, n in cases]
        rows.append([name, *(_mark(value, value <= SPLIT) for value in found)])
    return f"Benchmarks in which equal variants got different letters, %, {repeats:,} a cell.\n\n" + table(
        ["scores", *(f"k = {k}, n = {n}" for k, n in cases)], rows
    )


def _power(repeats: int) -> str:
    repeats = max(repeats // 10, 1)
    rows = [
        [
            f"{step:.2g} sd, a factor {np.exp(0.3 * step):.2f}",
            *(f"{power(repeats, k, n, step):.0f}" for k in POWER_VARIANTS for n in (5, 10)),
        ]
        for step in (1, 2, np.log(2) / 0.3, 3)
    ]
    return f"Neighbours that differ and were told apart, %, {repeats:,} benchmarks a cell.\n\n" + table(
        ["distance", *(f"k = {k}, n = {n}" for k in POWER_VARIANTS for n in (5, 10))], rows
    )


def _looks(repeats: int) -> str:
    rows = [[f"k = {k}", *(f"{value:.1f}" for value in looked_again(repeats, k))] for k in (2, 6)]
    text = f"Benchmarks in which equal variants of ten seeds were told apart, %, {repeats:,} a cell.\n\n"
    text += table(["variants", "at ten seeds", "or at the number that the page then names"], rows)
    rows = [[f"n = {n}", f"{equal_medians(repeats, n):.0f}"] for n in (5, 10, 20)]
    text += "\nVariants of nearly equal medians, one of which collapses in 20 % of trials, told apart, %.\n\n"
    text += table(["seeds", "told apart"], rows)
    rows = [[f"n = {n}", *(f"{value:.0f}" for value in planned(repeats, n))] for n in (5, 10, 20)]
    text += "\nSeeds needed where 17 are true.\n\n"
    head = ["seeds", "10 %", "median", "90 %", "intervals that hold 17, %", "estimates that are shown, %"]
    return text + table(head, rows)


def _across(repeats: int) -> str:
    cases = [(d, n) for d in (2, 4, 8) for n in (3, 5, 10)]
    rows = [
        [name, *(f"{aggregated(repeats // 4, d, n, failed):.1f}" for d, n in cases)]
        for name, failed in (("no failures", 0.0), ("20 % failures", 0.2))
    ]
    text = "Intervals of the normalised score that hold the true interquartile mean, %; D datasets, n seeds; "
    text += f"{repeats // 4} suites a cell.\n\n"
    text += table(["scores", *(f"D = {d}, n = {n}" for d, n in cases)], rows)
    cases = [(d, k) for d in (8, 12) for k in (3, 6, 12)]
    cells = [_mark(value, value <= SPLIT) for value in (false_ranks(repeats // 4, d, k) for d, k in cases)]
    text += f"\nSuites in which equal variants got different tiers over D datasets, %; {repeats // 4} a cell.\n\n"
    return text + table([f"D = {d}, k = {k}" for d, k in cases], [cells])


PARTS = {"intervals": _intervals, "letters": _letters, "power": _power, "looks": _looks, "across": _across}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2000, help="benchmarks of each cell; dearer parts take fewer")
    parser.add_argument("--only", choices=PARTS)
    options = parser.parse_args()
    start = time.process_time()
    for name in [options.only] if options.only else PARTS:
        print(PARTS[name](options.repeats), flush=True)
    print(f"{time.process_time() - start:.0f} CPU seconds.")


if __name__ == "__main__":
    main()
