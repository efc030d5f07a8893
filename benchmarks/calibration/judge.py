"""Trained settings, and what is known of each trial beside its verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from settings import JUDGED, SETTINGS, Setting
from training import place

from ganbench.analysis.measures import SHOWN, trained
from ganbench.analysis.stability import Verdict, verdict
from ganbench.results.schema import Record
from ganbench.results.store import read_records

WITHIN = 1.5  # a healthy run is at most this factor worse than the median of its setting
# And this share of the way from a constant to an ideal sampler, or farther.
REACH = {"fid": 0.5, "mode_kl": 0.5, "recovered_mass": 0.25, "modes": 0.5, "coverage": 0.25}
EVEN = log(4 / 3)  # mode_kl where a quarter of the modes is missing


@dataclass
class Trial:
    """One trained trial: its setting, its record, and whether it is healthy by its score alone."""

    setting: Setting
    record: Record
    healthy: bool = False

    @property
    def seed(self) -> int:
        return self.record.identity.trial.seed

    @property
    def group(self) -> str:
        """``set`` (thresholds may be set on it), ``judged`` (later seeds of the same settings) or ``held out``."""
        if not self.setting.sets:
            return "held out"
        return "set" if self.seed < JUDGED else "judged"

    @property
    def score(self) -> float | None:
        return self.record.values.get(self.record.primary) if self.record.status == "completed" else None


def read(folder: Path) -> list[Trial]:
    """Every trial that was trained, settings in their order."""
    found = []
    for setting in SETTINGS:
        trials = [
            Trial(setting, record)
            for record in read_records(place(setting, folder)).records
            if record.identity.trial.budget_images == setting.images  # one name at two budgets is two settings
        ]
        if setting.truth == "learns":
            scores = [trial.score for trial in trials if trial.score is not None]
            for trial in trials:
                trial.healthy = healthy(trial, float(np.median(scores)))
        if setting.truth == "converges":
            for trial in trials:
                trial.healthy = True
        found += trials
    return found


def healthy(trial: Trial, median: float) -> bool:
    """By the final scores alone, without the verdict: as good as its setting usually is, near an ideal sampler, even.

    FID: the square root, which is a distance, is at least half of the way from a constant's to the ideal sampler's;
    mode_kl likewise. Recovered mass: at least a quarter of the ideal sampler's, for narrow modes take long. Even: of
    points, mode_kl is below that of a quarter of the modes missing.
    """
    metric, score = trial.record.primary, trial.score
    if score is None:
        return False
    if trial.record.reference.centres is not None and (trained(trial.record)[-1][1].mode_kl or 0.0) >= EVEN:
        return False
    floor = trial.record.metrics[metric].floor
    if trial.record.metrics[metric].direction == "max":
        return score >= median / WITHIN and score >= REACH[metric] * floor
    constant = trial.record.reference.trace if metric == "fid" else log(trial.record.reference.modes)
    root = sqrt if metric == "fid" else float
    reached = (root(constant) - root(max(score, 0.0))) / (root(constant) - root(floor))
    return score <= WITHIN * median and reached >= REACH[metric]


def planted_step(trial: Trial) -> int | None:
    """The first evaluation that can see an abrupt failure; the failure's own step where the trial ended there."""
    if trial.setting.at is None:
        return None
    steps = [evaluation.step for evaluation in trial.record.evaluations]
    total = -(-trial.record.identity.trial.budget_images // 64)
    begins = int(np.ceil(trial.setting.at * total))  # the first step that is broken
    return next((step for step in steps if step > begins), begins)


def rows(trials: list[Trial]) -> Iterator[dict[str, Any]]:
    """One line of ``trials.csv`` a trial."""
    for trial in trials:
        judged: Verdict = verdict(trial.record)
        yield {
            "setting": trial.setting.name,
            "truth": trial.setting.truth,
            "group": trial.group,
            "seed": trial.seed,
            "status": trial.record.status,
            "metric": trial.record.primary,
            "score": trial.score,
            "healthy": trial.healthy,
            "verdict": judged.word,
            "note": judged.note,
            "verdict_step": judged.step,
            "planted_step": planted_step(trial),
            **{name: getattr(judged.measures, name) for name in SHOWN},
        }
