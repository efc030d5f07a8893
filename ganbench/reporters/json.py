"""``leaderboard.json``: leaderboard, trials, and what their columns mean, for programs that read no CSV."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from ganbench.plugin.interfaces import Reporter
from ganbench.plugin.report import Report
from ganbench.utils.files import write_atomic


class JsonReporter(Reporter):
    name = "json"
    suffix = ".json"

    def write_report(self, report: Report, folder: Path) -> None:
        write_atomic(folder / "leaderboard.json", to_json(report).encode())


def to_json(report: Report) -> str:
    """Lists of rows; floats exact, null for what is missing, the same text for the same tables."""
    content = {name: getattr(report, name) for name in ("metrics", "protocols", "primary", "centres", "sizes")}
    content |= {"leaderboard": rows(report.shown), "trials": rows(report.trials)}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    names = [str(name) for name in table.columns]
    columns = [[_plain(cell) for cell in table[name].tolist()] for name in table.columns]
    return [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _plain(cell: Any) -> Any:
    return None if pd.isna(cell) or (isinstance(cell, float) and not math.isfinite(cell)) else cell


reporter = JsonReporter()
