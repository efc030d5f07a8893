"""Checks of reporters."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ganbench.conformance.checking import Suite
from ganbench.conformance.errors import CheckFailed
from ganbench.conformance.example_report import example_report
from ganbench.conformance.process_state import require_unchanged_process
from ganbench.conformance.subjects import Subject
from ganbench.conformance.variant_runner import during
from ganbench.plugin import Report

REPORTERS = Suite("reporter")


def _written(subject: Subject, report: Report) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        with during("write"):
            subject.thing.write_report(report, Path(folder))
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


@REPORTERS.check("""suffix tells people and tools what a file is: it begins with a dot, such as '.csv'.""")
def declares_its_suffix(subject: Subject) -> str:
    suffix = subject.thing.suffix
    if not isinstance(suffix, str) or not suffix.startswith(".") or len(suffix) < 2:
        raise CheckFailed(f"suffix is {suffix!r}: a dot and an ending, such as '.csv'")
    return suffix


@REPORTERS.check(
    """write or write_report leaves at least one file with its suffix in the folder. Tables have baselines
    without a rank, failed trials without scores, and metrics that nobody knew when the reporter was written."""
)
def writes_its_file(subject: Subject) -> str:
    found = _written(subject, example_report())
    if not any(name.endswith(subject.thing.suffix) for name in found):
        raise CheckFailed(
            f"it wrote {', '.join(found) or 'nothing'}: expected a file that ends in {subject.thing.suffix}"
        )
    if empty := [name for name, content in found.items() if not content]:
        raise CheckFailed(f"{', '.join(empty)} is empty")
    return ", ".join(found)


@REPORTERS.check(
    """ganbench report writes the same bytes from the same records, on every machine and at any time: no clock, no
    host, no order of a set."""
)
def deterministic_bytes(subject: Subject) -> None:
    first, again = (_written(subject, example_report()) for _ in range(2))
    if differ := [name for name in {**first, **again} if first.get(name) != again.get(name)]:
        raise CheckFailed(f"written twice from the same tables, {', '.join(differ)} differs")


@REPORTERS.check(
    """Reporters are given the same two tables one after another: what one changes in them, the next one prints."""
)
def tables_left_alone(subject: Subject) -> None:
    report, untouched = example_report(), example_report()
    _written(subject, report)
    for name in ("leaderboard", "trials"):
        if not getattr(report, name).equals(getattr(untouched, name)):
            raise CheckFailed(f"it changes the table {name}: work on a copy, {name} = {name}.copy()")
    for name in ("records", "metrics", "protocols", "primary", "centres", "sizes"):
        if getattr(report, name) != getattr(untouched, name):
            raise CheckFailed(f"it changes report.{name}: work on a copy")


@REPORTERS.check("""Reports are written while nothing else may change: settings and random states stay as they were.""")
def leaves_the_process_alone(subject: Subject) -> None:
    require_unchanged_process(lambda: _written(subject, example_report()))
