"""What an interrupted sweep does with the tables of its finished trials."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from ganbench.results.store import Store
from ganbench.runner import session


@pytest.mark.parametrize(("quick", "written"), [(14, False), (15, True)])
def test_tables_of_many_finished_trials_are_left_to_report(
    quick: int, written: bool, fifteen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(fifteen, tmp_path / "results")
    for table in (*folder.glob("*.csv"), *folder.glob("*.html"), *folder.glob("*.md")):
        table.unlink()
    monkeypatch.setattr(session, "QUICK", quick)
    told, command = session.Session._write_finished(
        SimpleNamespace(options=SimpleNamespace(storage=None)), Store(folder)
    )
    assert (folder / "leaderboard.csv").exists() is written and "(15)" in told and f"--results {folder}" in command
