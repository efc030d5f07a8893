"""Compares two sets of results variant by variant: better, worse, or no evidence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ganbench.analysis.environments import differences
from ganbench.analysis.findings import SEEDS_NEEDED
from ganbench.analysis.frames import PROTOCOL_FIELDS, Source, Trials, final_trials
from ganbench.analysis.ranking import primary_scores
from ganbench.analysis.statistics import ALPHA, MINIMUM_SEEDS, Floats, holm, seeds_needed, superiority
from ganbench.analysis.tiers import p_values

COLUMNS = [
    "dataset",
    "extractor",
    "protocol",
    "variant",
    "metric",
    "before",
    "after",
    "difference",
    "p",
    "effect",
    "conclusion",
    "seeds_before",
    "seeds_after",
    "seeds_needed",
    "seeds_needed_low",
    "seeds_needed_high",
    "seeds_shared",
    "largest_change",
    "note",
]
_CONDITIONS = ["dataset_hash", *PROTOCOL_FIELDS]
SIDES = ("before", "after")


class Incomparable(ValueError):
    """Results whose protocol or dataset differ. The message names dataset, variants, fields and both values.

    Attributes:
        fields: what differs.
    """

    def __init__(self, message: str, fields: tuple[str, ...]) -> None:
        super().__init__(message)
        self.fields = fields


class Comparison(NamedTuple):
    """The rows that two sets of results allow, and why others are refused."""

    table: pd.DataFrame
    refused: list[Incomparable]


class _Pair(NamedTuple):
    """A variant under one protocol: positions of its trials before and after."""

    dataset: str
    variant: str
    before: np.ndarray
    after: np.ndarray


def compare(a: Source, b: Source) -> pd.DataFrame:
    """Compare the variants that both ``a`` (before) and ``b`` (after) have on a dataset; each a frame, or records.

    The table has a row for each variant and protocol: medians ``before`` and ``after`` of the dataset's primary
    metric over completed trials, their ``difference`` (after - before), ``p`` (Welch on the scale of the
    leaderboard, failed trials counted as a constant at the real mean, Holm over all rows; NaN below 5
    seeds), ``effect`` = P(b beats a), ``conclusion`` (``better``, ``worse``: p <= 0.05; else ``no
    evidence``), the seeds that were tested on each side and how many a side would show such a difference
    at power 0.8, with the ends of a 95 % interval (empty below 10 seeds a side and where they do not say),
    ``seeds_shared``, the seeds that completed on both sides, and ``largest_change`` of a score between two trials of
    one of them, |after - before| / max(|after|, |before|): 0 where a training was repeated to the bit; and a
    ``note`` of differences in environment, seeds, hyperparameters and failures; after ``protocol`` stands ``preset``
    where one has a name. Baselines and planted failures are left out.

    Raises:
        Incomparable: a variant is in both, but under no protocol or content of the dataset that both have;
            ``comparison`` has the other rows.
    """
    table, refused = comparison(a, b)
    if refused:
        raise refused[0]
    return table


@np.errstate(over="ignore", invalid="ignore")  # a stranger's scores may be 1e308
def comparison(a: Source, b: Source) -> Comparison:
    """Compare what can be compared of ``a`` and ``b``, as ``compare`` does, and say why the rest cannot be."""
    trials = _both(a, b)
    pairs, refused = _pairs(trials.context)
    lines, samples = [], []
    for pair in pairs:
        line, before, after = _line(trials, pair)
        lines.append(line)
        samples.append((before, after))
    testable = np.array([min(len(x), len(y)) >= MINIMUM_SEEDS for x, y in samples], dtype=bool)
    p = np.full(len(pairs), np.nan)
    if testable.any():
        tested = [sample for pair, ok in zip(samples, testable, strict=True) if ok for sample in pair]
        first = np.arange(0, len(tested), 2)
        p[testable] = holm(p_values(tested, first, first + 1))
    for line, (before, after), adjusted in zip(lines, samples, p, strict=True):
        line["p"] = adjusted
        needed = seeds_needed(before, after, len(pairs)) if len(before) and len(after) else None
        line |= {"seeds_before": len(before), "seeds_after": len(after)}
        line |= dict(zip(SEEDS_NEEDED, needed or (None, None, None), strict=True))
        gained = line.pop("gained")
        line["conclusion"] = ("better" if gained > 0 else "worse") if adjusted <= ALPHA else "no evidence"
    types = dict.fromkeys(["before", "after", "difference", "p", "effect", "largest_change"], "float64")
    types |= dict.fromkeys(["seeds_before", "seeds_after", "seeds_shared"], "int64")
    types |= dict.fromkeys(SEEDS_NEEDED, "Int64")
    place = COLUMNS.index("protocol") + 1
    named = ["preset"] if any(line["preset"] for line in lines) else []
    columns = [*COLUMNS[:place], *named, *COLUMNS[place:]]
    return Comparison(pd.DataFrame(lines, columns=pd.Index(columns, dtype=object)).astype(types), refused)


def unmatched(a: Source, b: Source) -> list[str]:
    """What only one side has, and ``compare`` therefore leaves out: ``dcgan on ring8: only before``.

    Where both have the variant on the dataset under one protocol, another that only one has is named too.
    """
    sides: list[dict[tuple[str, str], dict[tuple[Any, ...], str]]] = []
    for source in (a, b):
        context = final_trials(source).context
        mine = context[context["role"] == "variant"]
        found: dict[tuple[str, str], dict[tuple[Any, ...], str]] = {}
        columns = [mine[name].to_numpy(object) for name in ("variant", "dataset", "protocol", *_CONDITIONS)]
        for variant, dataset, protocol, *fields in zip(*columns, strict=True):
            found.setdefault((variant, dataset), {})[tuple(fields)] = protocol
        sides.append(found)
    told = set()
    for own, other, side in zip(sides, reversed(sides), SIDES, strict=True):
        for (variant, dataset), protocols in own.items():
            for conditions, protocol in protocols.items():
                if (variant, dataset) not in other:
                    told.add(f"{variant} on {dataset}: only {side}")
                elif conditions not in other[variant, dataset] and protocols.keys() & other[variant, dataset].keys():
                    told.add(f"{variant} on {dataset}, protocol {protocol}: only {side}")
    return sorted(told)


def undecidable(table: pd.DataFrame) -> list[str]:
    """The rows of a comparison whose seeds could never show a difference."""
    found = []
    for row in table[table["p"].isna()].to_dict("records"):
        text = (
            f"{row['variant']} on {row['dataset']}: {row['seeds_before']} seeds before, {row['seeds_after']} after; "
            f"it takes {MINIMUM_SEEDS} a side to show anything"
        )
        found.append(text)
    return found


def _both(a: Source, b: Source) -> Trials:
    """The trials of both, ``a`` first, with a column ``side``."""
    sides = [final_trials(a), final_trials(b)]
    metrics = list(dict.fromkeys(name for side in sides for name in side.metrics))
    blocks = []
    for side in sides:
        block = np.full((len(side.context), len(metrics)), np.nan)
        block[:, [metrics.index(name) for name in side.metrics]] = side.values
        blocks.append(block)
    context = pd.concat(
        [side.context.assign(side=name) for side, name in zip(sides, SIDES, strict=True)], ignore_index=True
    )
    values = np.vstack(blocks)
    blank = np.full_like(values, np.nan)
    return Trials(context, metrics, values, blank, blank, sides[0].directions | sides[1].directions)


def _pairs(context: pd.DataFrame) -> tuple[list[_Pair], list[Incomparable]]:
    """What can be compared; and what both have under no common conditions, a refusal for each way to differ."""
    sides: dict[tuple[str, str], dict[str, dict[tuple[Any, ...], list[int]]]] = {}
    columns = [context[name].to_numpy(object) for name in ("role", "dataset", "variant", "side", *_CONDITIONS)]
    for place, (role, dataset, variant, side, *conditions) in enumerate(zip(*columns, strict=True)):
        if role == "variant":
            both = sides.setdefault((dataset, variant), {name: {} for name in SIDES})
            both[side].setdefault(tuple(conditions), []).append(place)
    found: list[_Pair] = []
    refused: dict[tuple[str, tuple[Any, ...], tuple[Any, ...]], list[str]] = {}
    for (dataset, variant), both in sorted(sides.items()):
        before, after = (both[side] for side in SIDES)
        if not before or not after:
            continue
        shared = sorted(before.keys() & after.keys(), key=str)
        if not shared:
            refused.setdefault((dataset, min(before, key=str), min(after, key=str)), []).append(variant)
        found += [_Pair(dataset, variant, np.array(before[key]), np.array(after[key])) for key in shared]
    return found, [_refusal(*differing, variants) for differing, variants in refused.items()]


def _refusal(dataset: str, before: tuple[Any, ...], after: tuple[Any, ...], variants: list[str]) -> Incomparable:
    found = [(field, was, now) for field, was, now in zip(_CONDITIONS, before, after, strict=True) if was != now]
    told = "; ".join(f"{field} differs: {was} before, {now} after" for field, was, now in found)
    message = f"{dataset}: {', '.join(variants)} cannot be compared, {told}"
    return Incomparable(message, tuple(field for field, _, _ in found))


def _line(trials: Trials, pair: _Pair) -> tuple[dict[str, Any], Floats, Floats]:
    """The row without its p-value, and both samples on the scale of the test."""
    members = np.concatenate([pair.before, pair.after])
    context = trials.context
    primary = primary_scores(trials, members)
    scores, tested = primary.scores, primary.tested
    halves = slice(0, len(pair.before)), slice(len(pair.before), None)
    before, after = (tested[half][~np.isnan(tested[half])] for half in halves)
    done = [scores[half][primary.completed[half] & ~np.isnan(scores[half])] for half in halves]
    medians = [float(np.median(values)) if len(values) else np.nan for values in done]
    gain = float(after.mean() - before.mean()) if len(before) and len(after) else 0.0
    line = {
        "dataset": pair.dataset,
        "extractor": context["extractor"].iat[members[0]],
        **{name: context[name].iat[members[0]] for name in ("protocol", "preset")},
        "variant": pair.variant,
        "metric": primary.metric,
        "before": medians[0],
        "after": medians[1],
        "difference": medians[1] - medians[0],
        "effect": superiority(after, before, primary.direction) if len(before) and len(after) else np.nan,
        "gained": gain if primary.direction == "max" else -gain,
        **_shared(context["seed"].to_numpy()[members], np.where(primary.completed, scores, np.nan), len(pair.before)),
        "note": _note(context, pair),
    }
    return line, before, after


def _shared(seeds: np.ndarray, scores: Floats, first: int) -> dict[str, Any]:
    """How far trials of one seed differ; the ``first`` ones are of before, and NaN is the score of a failed one."""
    known = ~np.isnan(scores)
    before = np.flatnonzero(known & (np.arange(len(scores)) < first))
    after = np.flatnonzero(known & (np.arange(len(scores)) >= first))
    one, two = np.nonzero(seeds[before][:, None] == seeds[after])
    a, b = scores[before[one]], scores[after[two]]
    size = np.maximum(np.abs(a), np.abs(b))
    change = np.divide(np.abs(b - a), size, out=np.zeros(len(size)), where=size > 0)
    return {
        "seeds_shared": len(np.unique(seeds[before[one]])),
        "largest_change": float(change.max()) if len(change) else np.nan,
    }


def _note(context: pd.DataFrame, pair: _Pair) -> str:
    """In what the trials of the two sides differ beside their scores."""

    def both(field: str) -> tuple[list[Any], list[Any]]:
        column = context[field].to_numpy(object)
        return column[pair.before].tolist(), column[pair.after].tolist()

    notes = []
    for field, verb in (("environment", "differs"), ("hyperparameters", "differ")):
        before, after = both(field)
        if set(before) != set(after):
            told = differences(*both("environment_fields")) if field == "environment" else ""
            notes.append(f"{field} {verb}{f' in {told}' if told else ''}")
    before, after = both("seed")
    if sorted(before) != sorted(after):
        notes.append(f"seeds {seed_ranges(before)} before, {seed_ranges(after)} after")
    before, after = ([status for status in side if status != "completed"] for side in both("status"))
    if before or after:
        sizes = len(pair.before), len(pair.after)
        notes.append(f"failed {len(before)} of {sizes[0]} before, {len(after)} of {sizes[1]} after")
    for name, sources in zip(SIDES, both("source"), strict=True):
        if len(set(sources)) > 1:
            notes.append(f"{len(set(sources))} sources pooled {name}")
    return "; ".join(notes)


def seed_ranges(seeds: Iterable[int], dash: str = "-", comma: str = ",") -> str:
    """``0-4``, ``0-2,7``."""
    runs: list[list[int]] = []
    for seed in sorted(set(map(int, seeds))):
        if runs and seed == runs[-1][1] + 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    return comma.join(f"{low}" if low == high else f"{low}{dash}{high}" for low, high in runs)
