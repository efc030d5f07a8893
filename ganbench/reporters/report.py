"""Builds the report of a results folder from its records, and has the reporters write it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import UNSET
from msgspec.structs import asdict

from ganbench.analysis.findings import findings
from ganbench.analysis.frames import PROTOCOL_FIELDS, final_trials
from ganbench.analysis.ranking import leaderboard, trials_table
from ganbench.plugin.report import PLACE, Report
from ganbench.reporters import load_reporters
from ganbench.results.schema import Record
from ganbench.results.store import UNFINISHED, Contents, StoredRecords
from ganbench.utils.errors import UsageError
from ganbench.utils.names import hint

ABOUT = ("label", "direction", "rows_per_feature")


class Written(NamedTuple):
    """What was read of a results folder, and the report that was written of it."""

    contents: Contents
    report: Report


def write_reports(
    folder: Path, formats: Iterable[str], work: Path | None = None, columns: Sequence[str] = ()
) -> Written:
    """Write every format's files from the sound records in ``folder``; return what was read and the report.

    The files are a pure function of the records: writing them again gives the same bytes. ``work`` is where running
    trials write, if not there; ``columns`` of the leaderboard are shown, or all.

    Raises:
        UsageError: there is no such column; nothing is written.
    """
    reporters = load_reporters(formats)
    stored = StoredRecords(folder)
    report = build_report(stored)
    contents = stored.reading.contents(stored.abridged)
    if work is not None and work.resolve() != folder.resolve():
        contents = replace(contents, interrupted=contents.interrupted + _unfinished(work, folder))
    report = choose_columns(report, columns)
    if contents.records:
        for reporter in reporters:
            reporter.write_report(report, folder)
    return Written(contents, report)


def choose_columns(report: Report, columns: Sequence[str]) -> Report:
    """The report with these columns of its leaderboard alone, the variant always; all for none.

    Raises:
        UsageError: there is no such column.
    """
    if not columns:
        return report
    board = report.leaderboard
    ends = {
        f"{name}{end}" for name in board for end in ("_low", "_high", "_floor", "_floor_sd") if f"{name}_low" in board
    }
    known = [str(name) for name in board if name not in ends and name not in PLACE[:3]]
    for name in columns:
        if name not in known:
            raise UsageError(f"the leaderboard has no column {name!r}; {hint(name, known)}")
    return replace(report, columns=tuple(columns) if "variant" in columns else ("variant", *columns))


def _unfinished(work: Path, folder: Path) -> int:
    """How many trials have begun in the one and have no record in the other."""
    begun = (path for path in work.glob("*/*/seed-*") if any((path / name).exists() for name in UNFINISHED))
    return sum(not os.path.lexists(folder / path.relative_to(work) / "record.json") for path in begun)


def build_report(records: Sequence[Record]) -> Report:
    """Rank the records, test what they differ in, and collect what pages say beside the tables.

    ``StoredRecords`` are read here, and never all in memory.
    """
    about: dict[str, Any] = {"metrics": {}, "protocols": {}, "primary": {}, "centres": {}, "sizes": {}}

    def described(found: Iterable[Record]) -> Iterator[Record]:
        for record in found:
            _describe(record, about)
            yield record

    read = final_trials(described(records.read() if isinstance(records, StoredRecords) else records))
    return Report(leaderboard(read), trials_table(read), records, findings=findings(read), **about)


def _describe(record: Record, about: dict[str, dict[str, Any]]) -> None:
    """Add what pages say of a record's metrics, conditions and dataset."""
    trial, protocol = record.identity.trial, record.identity.protocol
    about["metrics"] |= {
        name: {key: value for key in ABOUT if (value := getattr(column, key)) is not UNSET}
        for name, column in record.metrics.items()
    }
    if protocol not in about["protocols"]:
        fields = {**asdict(trial), **asdict(record.identity.evaluation)}
        about["protocols"][protocol] = {**{name: fields[name] for name in PROTOCOL_FIELDS}, "curve_samples": []}
    if (few := record.identity.evaluation.curve_samples) and few not in about["protocols"][protocol]["curve_samples"]:
        about["protocols"][protocol]["curve_samples"].append(few)
    about["primary"][trial.dataset] = record.primary
    reference = record.reference
    if reference.centres:
        about["centres"][trial.dataset] = reference.centres
    if reference.features is not None and reference.real is not None and reference.fake is not None:
        sizes = about["sizes"].setdefault(trial.dataset, {})
        sizes[protocol] = {"n": min(reference.real, reference.fake), "d": reference.features}
