"""Trials as the page shows them: a row of the table of trials with its record, its folder and its costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ganbench.reporters.charts import finite
from ganbench.reporters.pictures import MOST_BYTES
from ganbench.results.schema import Record, is_measure
from ganbench.results.store import StoredRecords, abridged
from ganbench.utils import canonical_json
from ganbench.utils.files import read_plain


@dataclass(frozen=True)
class Trial:
    """One trial of a row.

    Attributes:
        about: its line of the table of trials.
        record: what its record holds; None for tables that were made without records.
        place: its folder; None where there is none.
        cost: numbers of its ``cost.json``.
    """

    about: Mapping[str, Any]
    record: Record | None
    place: Path | None
    cost: Mapping[str, float]

    @property
    def seed(self) -> int:
        return int(self.about["seed"])

    @property
    def completed(self) -> bool:
        return bool(self.about["status"] == "completed")

    @property
    def page(self) -> str:
        """Its own page beside the leaderboard; nothing without a record to show on it."""
        return f"trials/{self.about['trial']}.html" if self.record is not None else ""

    @property
    def word(self) -> str:
        """Its verdict; of a trial without one its status."""
        return str(self.about["verdict"] or ("" if self.completed else self.about["status"]))

    @property
    def judged(self) -> str:
        """Its verdict with what qualifies it: ``collapsed (lost modes; coarse)``."""
        note = self.about.get("note")
        return f"{self.word} ({note})" if note and self.about["verdict"] else self.word

    @property
    def environment(self) -> str:
        """The hash of where it ran."""
        return str(self.about.get("environment", ""))

    @property
    def images(self) -> int | None:
        """At how many images its verdict fell, if that is known."""
        value = self.about.get("verdict_images")
        return None if value is None or pd.isna(value) else int(value)


# Variants in the order of the leaderboard: the number by which each has its colour on the page, its name, its trials.
Variants = Sequence[tuple[int, str, Sequence[Trial]]]


class TrialIndex:
    """Finds the record and the folder of each row of the table of trials."""

    def __init__(self, folder: Path, records: Sequence[Record]) -> None:
        self.folder, self._records = folder, records
        self.places = {path.name: path for path in sorted(folder.glob("*/*/seed-*"))}
        self.records = {
            (record.identity.trial.dataset, record.identity.trial.seed, record.identity.id): record
            for record in abridged(records)
        }
        self._costs: dict[Path, dict[str, float]] = {}

    def find(self, about: Mapping[Any, Any]) -> Trial:
        """The trial of a row of the table of trials."""
        place = self.places.get(f"seed-{about['seed']}-{about['trial']}")
        key = (str(about["dataset"]).partition("@")[0], about["seed"], about["trial"])
        if place is not None and place not in self._costs:
            self._costs[place] = costs(place)
        return Trial(about, self.records.get(key), place, self._costs[place] if place else {})

    def whole(self, trial: Trial) -> Trial:
        """A trial with all of its record, of which the others have what tables show."""
        if trial.record is None or not isinstance(self._records, StoredRecords):
            return trial
        return replace(trial, record=self._records.reread(trial.record))


def median_first(trials: Sequence[Trial], metric: str) -> list[Trial]:
    """Sort completed trials by how near their score is to the median, so that what is shown first is typical."""
    completed = [trial for trial in trials if trial.completed]
    values = finite([trial.about.get(metric) for trial in completed])
    if not np.isfinite(values).any():
        return completed
    middle = np.nanpercentile(values, 50, method="lower")
    away = np.where(np.isnan(values), np.inf, np.abs(values - middle))
    return [completed[i] for i in np.argsort(away, kind="stable")]


def costs(place: Path) -> dict[str, float]:
    """The numbers of a trial's ``cost.json``; the page can do without them."""
    names = (
        *("wall_seconds", "training_seconds", "evaluation_seconds"),
        *("peak_memory_bytes", "peak_device_memory_bytes", "images_per_second"),
    )
    try:
        cost = canonical_json.loads(read_plain(place / "cost.json", MOST_BYTES))
    except (OSError, ValueError):
        return {}
    found = {name: float(cost[name]) for name in names if is_measure(cost.get(name))} if isinstance(cost, dict) else {}
    return found if "wall_seconds" in found else {}


def nondeterministic(trial: Trial) -> list[str]:
    """The operations without a deterministic kernel that its record names; a GPU's bits need not repeat with them."""
    telemetry = trial.record.telemetry if trial.record else None
    return (telemetry.nondeterministic if telemetry else None) or []
