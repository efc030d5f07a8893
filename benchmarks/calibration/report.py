"""The text of results/calibration/README.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import binomtest
from settings import JUDGED

from ganbench.analysis.measures import SHOWN
from ganbench.analysis.stability import THRESHOLDS, UNSTABLE, WORDS, verdict

FACTORS = (0.5, 0.7, 0.85, 1.15, 1.4, 2.0)
GROUPS = {
    "set": f"Seeds before {JUDGED} of the settings on which thresholds may be set",
    "judged": f"Seeds from {JUDGED} on of the same settings",
    "held out": "Variants and datasets that set nothing",
}
HEAD = """# Calibration of the stability verdict

Made by

    python benchmarks/calibration FOLDER

which trains for some 45 minutes on two cores, and continues where it was stopped. [trials.csv](trials.csv) has
every trial: what is known of it, its verdict, and every measure. [docs/stability.md](../../docs/stability.md) explains
the rules.

**Failures** are built to fail (`plugins/planted*.py`). **Healthy** is decided by the final scores alone, before any
verdict: a run of an ordinary variant whose score is within a factor of 1.5 of its setting's median, and near an
ideal sampler (FID: its square root at least half of the way from a constant's to the ideal sampler's; recovered mass:
at least a quarter of it, and mode KL below ln 4/3, as where a quarter of the modes is missing). Runs of ordinary
variants that are not healthy are listed and count neither way. A Dirac-GAN with R1 is healthy because its convergence
is proved. Ordinary variants have the hyperparameters that were their defaults when thresholds were set, and are others
by now for some (`THEN` in `benchmarks/calibration/settings.py`).
"""


def write(path: Path, table: pd.DataFrame, trials: Sequence[Any]) -> None:
    """Write the page from ``trials.csv`` and the trials whose thresholds may be moved."""
    parts = [HEAD, summary(table)]
    for group, title in GROUPS.items():
        parts.append(f"## {title}\n\n{confusion(table[table.group == group])}")
    parts += [steps(table), extremes(table), sensitivity(trials)]
    path.write_text("\n".join(parts))


def share(count: int, total: int) -> str:
    """``3 of 60 (5.0 %, 95 % interval 1.0 to 13.9 %)``, Clopper and Pearson's exact interval."""
    if not total:
        return "0 of 0"
    low, high = binomtest(count, total).proportion_ci(0.95, method="exact")
    return f"{count} of {total} ({100 * count / total:.1f} %, 95 % interval {100 * low:.1f} to {100 * high:.1f} %)"


def markdown(head: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    cells = [list(map(str, line)) for line in (head, ["---"] * len(head), *lines)]
    return "".join("| " + " | ".join(line) + " |\n" for line in cells)


def summary(table: pd.DataFrame) -> str:
    lines = []
    for group, title in GROUPS.items():
        own = table[table.group == group]
        healthy, failures = own[own.healthy], own[own.truth == "failure"]
        alarms = int(healthy.verdict.isin(UNSTABLE).sum())
        missed = int((failures.verdict == "stable").sum())
        lines.append([title, share(alarms, len(healthy)), share(missed, len(failures))])
    return "## In short\n\n" + markdown(["", "healthy called unstable", "failing called stable"], lines)


def confusion(table: pd.DataFrame) -> str:
    lines = []
    for (truth, setting), rows in table.groupby(["truth", "setting"], sort=False):
        parts = (
            [("failure", rows)] if truth == "failure" else [("healthy", rows[rows.healthy]), ("-", rows[~rows.healthy])]
        )
        for kind, part in parts:
            if len(part):
                counts = part.verdict.value_counts()
                lines.append([kind, setting, len(part), *(counts.get(word, "") for word in WORDS)])
    return markdown(["truth", "setting", "trials", *WORDS], lines)


def steps(table: pd.DataFrame) -> str:
    """How exact the place of an abrupt failure is, in evaluations."""
    known = table[table.planted_step.notna()]
    lines = []
    for setting, rows in known.groupby("setting", sort=False):
        placed = rows[rows.verdict_step.notna()]
        off = (placed.verdict_step - placed.planted_step).astype(int)
        counts = ", ".join(f"{count} x {value:+d}" for value, count in off.value_counts().sort_index().items())
        lines.append([setting, len(rows), len(placed), counts])
    return (
        "## Where an abrupt failure happened\n\n"
        "Steps between the place that the verdict names and the first evaluation that could see the failure (of NaN: "
        "its own step).\n\n" + markdown(["setting", "trials", "placed", "off by"], lines)
    )


def extremes(table: pd.DataFrame) -> str:
    """The range of each measure in healthy runs and in failures, all seeds."""
    healthy, failures = table[table.healthy], table[table.truth == "failure"]

    def spread(values: pd.Series) -> str:
        known = values.dropna()
        if known.empty:
            return ""
        low, middle, high = (f"{known.quantile(q):.3g}" for q in (0, 0.5, 1))
        return f"{low} / {middle} / {high}"

    lines = [[name, spread(healthy[name]), spread(failures[name])] for name in SHOWN]
    return "## The measures\n\nLeast / median / greatest.\n\n" + markdown(["measure", "healthy", "failures"], lines)


def sensitivity(trials: Sequence[Any]) -> str:
    """What moving one threshold at a time does on the trials that may set it."""

    def mistakes(judge: Callable[[Any], str | None]) -> str:
        words = [(trial, judge(trial)) for trial in trials]
        alarms = sum(trial.healthy and word in UNSTABLE for trial, word in words)
        missed = sum(trial.setting.truth == "failure" and word == "stable" for trial, word in words)
        return f"{alarms}; {missed}"

    lines = []
    for field in fields(THRESHOLDS):
        value = getattr(THRESHOLDS, field.name)
        if field.name in ("fewest", "coarse"):
            continue
        cells = []
        for factor in FACTORS:
            moved = replace(THRESHOLDS, **{field.name: value * factor})
            cells.append(mistakes(lambda trial, limits=moved: verdict(trial.record, limits).word))
        lines.append([field.name, f"{value:.3g}", *cells])
    now = mistakes(lambda trial: verdict(trial.record).word)
    return (
        f"## Thresholds\n\nHealthy runs called unstable; failing ones called stable, seeds before {JUDGED}: {now} as "
        "they are, and with one threshold multiplied.\n\n"
        + markdown(["threshold", "value", *(f"x {f}" for f in FACTORS)], lines)
    )
