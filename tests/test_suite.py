"""The command that runs the tests: what it selects, when it installs, and its verdict."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

TESTS = Path(__file__).parent


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """tests/run.py in a checkout of two files; it notes the commands in ``commands`` instead of running them."""
    spec = importlib.util.spec_from_file_location("suite", TESTS / "run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/quick.txt").write_text("tests/plugin\ntests/one.py\n")
    (tmp_path / "pyproject.toml").write_text("one")
    module.commands, module.codes = [], {}

    def run(command: list[str], check: bool = False, **_: object) -> SimpleNamespace:
        name = next(name for name in ("venv", "pip", "pytest") if name in command)
        module.commands.append((name, command))
        if name == "venv":
            Path(command[-1]).mkdir(parents=True, exist_ok=True)
        code = module.codes.get(name, 0)
        if check and code:
            raise subprocess.CalledProcessError(code, command)
        return SimpleNamespace(returncode=code)

    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "INSTALLED", ("pyproject.toml",))
    monkeypatch.setattr(subprocess, "run", run)
    return module


def called(suite: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, list[str]]:
    """The exit status of ``python tests/run.py``, and the names of the commands that it ran."""
    suite.commands.clear()
    monkeypatch.setattr("sys.argv", ["run.py", *arguments])
    return suite.main(), [name for name, _ in suite.commands]


def test_it_installs_at_first_and_after_a_change(suite, monkeypatch, tmp_path: Path) -> None:
    assert called(suite, monkeypatch) == (0, ["venv", "pip", "pytest"])
    assert called(suite, monkeypatch) == (0, ["pytest"])
    (tmp_path / "pyproject.toml").write_text("two")
    suite.codes["pip"] = 1
    assert called(suite, monkeypatch) == (1, ["pip"])
    suite.codes.clear()
    assert called(suite, monkeypatch)[1][-2:] == ["pip", "pytest"]


@pytest.mark.parametrize(("code", "word"), [(0, "PASSED"), (1, "FAILED"), (5, "FAILED")])
def test_it_ends_with_a_verdict(suite, monkeypatch, capsys: pytest.CaptureFixture[str], code: int, word: str) -> None:
    suite.codes["pytest"] = code
    assert called(suite, monkeypatch, "--whole")[0] == bool(code)
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{word}: the whole suite, after ")


def test_the_selection_the_rest_and_what_pytest_is_told(suite, monkeypatch) -> None:
    told = {}
    for choice in ("", "--rest", "--whole"):
        called(suite, monkeypatch, *filter(None, [choice]), "-k", "tune")
        told[choice] = " ".join(suite.commands[-1][1]).partition(" --maxprocesses 8 ")[2]
    assert told == {
        "": "@tests/quick.txt -k tune",
        "--rest": "--deselect=tests/plugin --deselect=tests/one.py -k tune",
        "--whole": "-k tune",
    }


def test_the_selection_exists_and_meets_every_package() -> None:
    lines = (TESTS / "quick.txt").read_text().splitlines()
    for path, _, name in (line.partition("::") for line in lines):
        assert (TESTS.parent / path).exists(), path
        assert not name or f"def {name}(" in (TESTS.parent / path).read_text(), f"{path} has no {name}"
    folders = {path.parent.relative_to(TESTS).parts[0] for path in TESTS.glob("*/**/test_*.py")} - {"fixtures"}
    assert folders - {line.split("/")[1] for line in lines} == set()
