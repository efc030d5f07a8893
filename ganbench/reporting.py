"""From a results folder to its tables on disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from ganbench.ranking import leaderboard, trials_table
from ganbench.reporters import load_reporters
from ganbench.store import Contents, read_records


def write_reports(folder: Path, formats: Iterable[str]) -> tuple[Contents, pd.DataFrame]:
    """Write every format's files from the sound records in ``folder``; return what was read and the leaderboard.

    The tables are a pure function of the records: writing them again gives the same bytes.
    """
    reporters = load_reporters(formats)
    contents = read_records(folder)
    board, trials = tables(contents.records)
    if contents.records:
        for reporter in reporters:
            reporter.write(board, trials, folder)
    return contents, board


def tables(records: list[dict[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Leaderboard and trials; ``attrs["metrics"]`` of both says what each metric is called and which way is better."""
    board, trials = leaderboard(records), trials_table(records)
    about = {
        name: {k: m[k] for k in ("label", "direction")} for record in records for name, m in record["metrics"].items()
    }
    board.attrs["metrics"] = trials.attrs["metrics"] = about
    return board, trials
