"""The lesson does what it says: its notebook runs, and its commands end with the verdicts that its table has.

The slow ones train for minutes: pytest -m slow tests/whole/test_lesson.py
"""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "lesson.md").read_text()
COMMANDS = runpy.run_path(str(ROOT / "docs" / "lesson.py"))["commands"]()
VERDICTS = dict(re.findall(r"^\| .* \| `([\w-]+)` \| `(\w+)` \|$", PAGE, re.MULTILINE))


def verdict(command: str, folder: Path) -> tuple[str, str]:
    """Run a command of the lesson; the name of its results folder, and the verdict of its only trial."""
    words = [sys.executable, "-m", *command.split()]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    results = words[words.index("--results") + 1]
    [word] = pd.read_csv(folder / results / "trials.csv")["verdict"]
    return results, word


def test_every_film_is_there_and_made_by_a_command_beside_it() -> None:
    shown = set(re.findall(r"\]\(films/([\w-]+\.webp)\)", PAGE))
    made = {command.split()[-1] for command in COMMANDS if command.startswith("ganbench film")}
    files = {path.name: path.stat().st_size for path in (ROOT / "docs" / "films").iterdir()}
    assert shown == made == set(files)
    assert max(files.values()) < 210_000 and sum(files.values()) < 1_500_000


def test_every_failure_and_its_cure_have_a_verdict() -> None:
    folders = [re.search(r"--results (\S+)", command)[1] for command in COMMANDS if command.startswith("ganbench run")]
    assert set(VERDICTS) == set(folders) - {"others"} and len(VERDICTS) == 2 + 6 + 5
    for name, word in VERDICTS.items():
        assert (word == "stable") == (name.endswith("-cured") or name in ("points", "digits")), name


@pytest.mark.parametrize("name", ["chase", "chase-cured"])
def test_two_that_chase_each_other_and_the_penalty_that_stops_them(tmp_path: Path, name: str) -> None:
    [command] = [command for command in COMMANDS if command.endswith(f"--results {name}")]
    assert verdict(command, tmp_path) == (name, VERDICTS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in VERDICTS if not name.startswith("chase")])
def test_the_commands_end_with_the_verdicts_of_the_lesson(tmp_path: Path, name: str) -> None:
    """On another processor than the lesson's a training may take another course; seen on several seeds."""
    [command] = [command for command in COMMANDS if command.endswith(f"--results {name}")]
    assert verdict(command, tmp_path) == (name, VERDICTS[name])


@pytest.mark.slow
def test_the_notebook_runs_and_shows_its_films(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    shutil.copy(ROOT / "examples" / "lesson.ipynb", tmp_path)
    notebook = nbformat.read(tmp_path / "lesson.ipynb", as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    kinds = [set(output.get("data", {})) for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in kind for kind in kinds) == 4
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1].outputs[0]["data"]["text/plain"]
    assert len(re.findall(r"1 (stable|collapsed|dominated|oscillating)", last)) == 6
