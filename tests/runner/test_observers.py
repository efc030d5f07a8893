"""Observers: whatever one does to its own process, the sweep hears of it by name and goes on."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ganbench.runner import observers
from ganbench.runner.observers import Observers
from ganbench.utils.errors import UsageError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and sessions are POSIX")

MODULE = """
import atexit, ctypes, os, sys, time
from ganbench.plugin import hookimpl

NAME = __name__.replace("_", "-")

def say(text):
    with open(f"{{NAME}}.txt", "a") as file:
        print(text, file=file)

say(os.getpid())
{at_import}

@hookimpl
def ganbench_evaluated(spec, evaluation):
    {at_call}

@hookimpl
def ganbench_finished(record):
    say(record["label"])
"""
GOOD = {"good": "say(evaluation['step'])"}
LAST_WORDS = {"good": "atexit.register(say, 'bye')"}
SEGFAULT = "ctypes.string_at(0)"
AT_CALL = {
    "raises": ("1 / 0", r"raised ZeroDivisionError: division by zero"),
    "exits": ("sys.exit(0)", r"raised SystemExit: 0"),
    "quits": ("os._exit(0)", r"ended: its process ended by itself with exit code 0"),
    "segfaults": (SEGFAULT, r"ended: its process was killed by SIGSEGV"),
    "hangs": ("time.sleep(3600)", r"did not answer within 3 s"),
    "holds-lock": ("ctypes.PyDLL(None).sleep(3600)", r"did not answer within 3 s"),
    "closes-files": ("os.closerange(3, 100); time.sleep(60)", r"closed the connection to the sweep"),
    "escapes": ("raise ValueError('\\x1b[2J' + 'A' * 10**6)", r"raised ValueError: \?\[2JA+\.\.\."),
}
AT_IMPORT = {
    "raises": ("1 / 0", r"observer raises .*raised ZeroDivisionError"),
    "exits": ("sys.exit(0)", r"observer exits .*raised SystemExit: 0"),
    "quits": ("os._exit(0)", r"observer quits cannot be used: ended: its process ended by itself with exit code 0"),
    "segfaults": (SEGFAULT, r"observer segfaults cannot be used: ended: its process was killed by SIGSEGV"),
}


@pytest.fixture
def put(install: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install observers by name, with what they do at import and at a call."""
    monkeypatch.chdir(tmp_path)

    def into(at_call: dict[str, str], at_import: dict[str, str]) -> None:
        modules, entries = {}, {}
        for name in at_call | at_import:
            module = name.replace("-", "_")
            text = MODULE.format(at_call=at_call.get(name, "pass"), at_import=at_import.get(name, ""))
            modules[f"{module}.py"], entries[name] = text, module
        monkeypatch.syspath_prepend(str(install("observers", modules, entries)))

    return into


def alive(name: str) -> bool:
    try:
        os.kill(int(Path(f"{name}.txt").read_text().split()[0]), 0)
    except ProcessLookupError:
        return False
    return True


def test_one_that_fails_at_a_call_is_named_once_and_the_others_go_on(
    put: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observers, "CALL_SECONDS", 3.0)
    put(GOOD | {name: call for name, (call, _) in AT_CALL.items()}, LAST_WORDS)
    warned: list[str] = []
    watching = Observers([*AT_CALL, "good"], warned.append)
    assert alive("good") and alive("hangs")
    watching.evaluated({}, {"step": 1})
    watching.evaluated({}, {"step": 2})
    watching.finished({"label": "noise"}, Path("trial"))
    watching.close()
    for (name, (_, how)), text in zip(AT_CALL.items(), warned, strict=True):
        assert re.match(f"observer {name} {how}", text), text
        assert text.isprintable() and len(text) < 600 and text.endswith("it is switched off for this run")
        assert not alive(name)
    assert Path("good.txt").read_text().split()[1:] == ["1", "2", "noise", "bye"] and not alive("good")


@pytest.mark.parametrize("name", AT_IMPORT)
def test_one_that_fails_at_import_is_wrong_usage(name: str, put: Callable[..., None]) -> None:
    code, told = AT_IMPORT[name]
    put(GOOD, {name: code})
    with pytest.raises(UsageError, match=told):
        Observers(["good", name], print)
    assert not alive("good") and not alive(name)


def test_one_that_is_not_installed_is_wrong_usage_before_anything_is_planned(ganbench: Callable[..., object]) -> None:
    done = ganbench("run", "-p", "noise", "--observe", "nobody")
    assert done.returncode == 2 and "there is no observer 'nobody'" in done.stderr
    assert "asking plugins" not in done.stderr
