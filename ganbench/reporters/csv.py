"""``leaderboard.csv``, ``trials.csv``, ``across.csv``: floats exact, missing cells empty, no text that a sheet runs."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from ganbench.plugin.interfaces import Reporter
from ganbench.plugin.report import Report
from ganbench.utils.files import remove, write_atomic

# A spreadsheet takes a cell that begins with one of these for a formula; and where it splits at semicolons or tabs,
# as some locales do, a cell may begin within ours.
_FORMULA = re.compile(r"(?:^|(?<=[;\t\n]))(?= *[=+@\t\n＝＋－＠-])")
# Characters that end a cell or a file early for some readers, or steer the terminal on which a file is shown.
_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
_CONTROLS[ord("\r")] = "\n"


class CsvReporter(Reporter):
    name = "csv"
    suffix = ".csv"

    def write_report(self, report: Report, folder: Path) -> None:
        for name, table in (("leaderboard", report.shown), ("trials", report.trials)):
            write_atomic(folder / f"{name}.csv", to_csv(table).encode())
        if report.findings is not None and len(report.findings.across.datasets) > 1:
            write_atomic(folder / "across.csv", to_csv(report.findings.across.table).encode())
        else:  # what stands there is of records that are gone
            remove(folder / "across.csv")


def to_csv(table: pd.DataFrame) -> str:
    """A table as CSV: the same table always gives the same text."""
    return table.map(_plain).rename(columns=_plain).to_csv(index=False, lineterminator="\n")


def _plain(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    return _FORMULA.sub("'", cell.translate(_CONTROLS))


reporter = CsvReporter()
