"""Runs observers, the plugins named with ``--observe`` that are told of every evaluation and of every finished trial.

Each has a process of its own: nothing that it does can end the sweep.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import ModuleType
from typing import Any

from ganbench.executors import ending
from ganbench.utils import signals
from ganbench.utils.errors import UsageError, in_words, one_line

IMPORT_SECONDS = 120.0
CALL_SECONDS = 30.0
END_SECONDS = 10.0  # to write what it holds, when the sweep is over
_MOST_BYTES = 1 << 16  # of an answer


class Observers:
    """Tells each observer what happens; one that raises, hangs or ends is warned about once and switched off.

    Raises:
        UsageError: one cannot be imported, whatever it does to the process that tries.
    """

    def __init__(self, names: Sequence[str], warn: Callable[[str], None]) -> None:
        self.warn = warn
        self._running: dict[str, _Observer] = {}
        try:
            for name in dict.fromkeys(names):
                self._running[name] = observer = _Observer(name)
                if wrong := observer.answer(IMPORT_SECONDS):
                    raise UsageError(f"observer {name} cannot be used: {wrong}")
        except BaseException:
            self.close(0.0)
            raise

    def evaluated(self, spec: dict[str, Any], evaluation: dict[str, Any]) -> None:
        self._call("ganbench_evaluated", spec=spec, evaluation=evaluation)

    def finished(self, record: dict[str, Any], folder: Path) -> None:
        self._call("ganbench_finished", record=record, folder=str(folder.absolute()))

    def close(self, seconds: float = END_SECONDS) -> None:
        """Let the observers end; what has not within some seconds is ended."""
        while self._running:
            _, observer = self._running.popitem()
            observer.close(seconds)

    def _call(self, hook: str, **arguments: Any) -> None:
        for name, observer in list(self._running.items()):
            observer.tell([hook, arguments])
            if wrong := observer.answer(CALL_SECONDS):
                self._running.pop(name).close(0.0)
                self.warn(f"observer {name} {wrong}; it is switched off for this run")


class _Observer:
    """One plugin in its process. It answers every message, so that none is written to a pipe that nobody reads."""

    def __init__(self, name: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name))
        self._process.start()
        theirs.close()

    def tell(self, message: list[Any]) -> None:
        with contextlib.suppress(OSError):  # it has ended, which the missing answer says
            self._pipe.send_bytes(json.dumps(message).encode())

    def answer(self, seconds: float) -> str:
        """What went wrong, or nothing."""
        if not wait([self._pipe, self._process.sentinel], seconds):
            return f"did not answer within {seconds:g} s"
        with contextlib.suppress(EOFError, OSError):
            if self._pipe.poll():
                return one_line(self._pipe.recv_bytes(_MOST_BYTES).decode(errors="replace"))
        code = self._exit_code(1.0)
        return "closed the connection to the sweep" if code is None else f"ended: {ending(code)}"

    def close(self, seconds: float) -> None:
        self._pipe.close()  # which tells it to end
        pid = self._process.pid
        if pid is not None and self._exit_code(seconds) is None:
            for end in (os.killpg, os.kill):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    end(pid, signal.SIGKILL)
        self._process.join()

    def _exit_code(self, seconds: float) -> int | None:
        """Its exit code within some seconds. ``join`` would block: a process can close what tells of its end."""
        ends = time.monotonic() + seconds
        while self._process.exitcode is None and time.monotonic() < ends:
            time.sleep(0.01)
        return self._process.exitcode


def _serve(pipe: Connection, name: str) -> None:
    """An observer's process: import it, answer, and then call a hook and answer until there is nobody to answer."""
    with contextlib.suppress(OSError):
        os.setsid()  # Ctrl-C is for the driver, which lets this end when the sweep has
    signals.end_with_parent()
    from ganbench.discovery.loader import discover  # which takes a while

    wrong = ""
    try:
        module = discover([], [name]).observers[name]
    except UsageError as reason:
        wrong = str(reason)
    except BaseException as reason:
        wrong = f"importing it raised {in_words(reason)}"
    pipe.send_bytes(wrong.encode())
    with contextlib.suppress(EOFError, OSError):
        while not wrong:
            hook, arguments = json.loads(pipe.recv_bytes())
            pipe.send_bytes(_observe(module, name, hook, arguments).encode())


def _observe(module: ModuleType, name: str, hook: str, arguments: dict[str, Any]) -> str:
    """Call one hook, through pluggy: an implementation may take fewer arguments than the hook has."""
    import pluggy

    from ganbench.plugin import hookspecs

    manager = pluggy.PluginManager("ganbench")
    manager.add_hookspecs(hookspecs)
    manager.register(module, name=name)
    try:
        getattr(manager.hook, hook)(**arguments)
    except BaseException as reason:  # sys.exit among it
        return f"raised {in_words(reason)}"
    return ""
