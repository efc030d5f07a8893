"""``leaderboard.csv``, ``trials.csv``, ``across.csv``: floats exact, missing cells empty, no text that a sheet runs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ganbench.findings import Findings
from ganbench.kinds import Reporter
from ganbench.store import write_atomic

# A spreadsheet takes a cell that begins with one of these for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\n", "＝", "＋", "－", "＠")
# Characters that end a cell or a file early for some readers.
_CONTROLS = {ord("\0"): "\N{REPLACEMENT CHARACTER}", ord("\r"): "\n"}


class CsvReporter(Reporter):
    name = "csv"
    suffix = ".csv"

    def write(self, leaderboard: pd.DataFrame, trials: pd.DataFrame, folder: Path) -> None:
        for name, table in (("leaderboard", leaderboard), ("trials", trials)):
            write_atomic(folder / f"{name}.csv", to_csv(table).encode())
        findings: Findings | None = leaderboard.attrs.get("findings")
        if findings is not None and len(findings.across.attrs["datasets"]) > 1:
            write_atomic(folder / "across.csv", to_csv(findings.across).encode())
        else:  # what stands there is of records that are gone
            (folder / "across.csv").unlink(missing_ok=True)


def to_csv(table: pd.DataFrame) -> str:
    """A table as CSV: the same table always gives the same text."""
    return table.map(_plain).to_csv(index=False, lineterminator="\n")


def _plain(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    text = cell.translate(_CONTROLS)
    return f"'{text}" if text.startswith(_FORMULA) else text


reporter = CsvReporter()
