"""``ganbench.run`` from Python: the command ``ganbench run`` in a process of its own, and its results as a frame.

It is the command itself, so plan, processes, folder and every bit are the same, a script needs no ``__main__`` guard,
and nothing that a plugin does reaches the caller.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

import pandas as pd

from ganbench.reporters.notebook import load_results
from ganbench.results.store import DEFAULT_FOLDER
from ganbench.utils.errors import EXIT_COMPLETED, EXIT_FAILED, EXIT_INTERRUPTED, UsageError


def run(
    plugins: str | Iterable[str],
    datasets: str | Iterable[str] | None = None,
    *,
    seeds: int | str | Iterable[int] = 5,
    settings: Mapping[str, Any] | None = None,
    results: str | os.PathLike[str] = DEFAULT_FOLDER,
    say: Callable[[str], object] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Train variants on datasets as ``ganbench run`` does, and return the results folder as ``load_results`` does.

        frame = ganbench.run(["dcgan", "r1"], "digits", seeds=5, settings={"r1.gamma": [0.1, 1.0]}, images=64_000)
        ganbench.leaderboard(frame)

    The same call again keeps what is finished and goes on with the rest. Ctrl-C, or the stop button of a notebook,
    stops gently: running trials write a checkpoint first.

    Args:
        plugins: names of variants.
        datasets: names of datasets; None for ``digits``, or those that ``protocol`` or ``config`` names.
        seeds: how many, or which.
        settings: hyperparameters, ``{"variant.key": value}``; a list of values gives rows side by side.
        results: folder for records and tables.
        say: takes each line of progress; by default standard error, where notebooks show it.
        options: those of the command by their names, ``images=6400``, ``jobs=2``, ``retry_failed=True``.

    Raises:
        UsageError: what was asked for cannot be done; the message is the command's.
        KeyboardInterrupt: it was stopped; nothing finished is lost.
        RuntimeError: the folder is damaged, or the command ended otherwise; the message is what it said.
    """
    words = ["--plugins", _joined(plugins), "--results", os.fspath(results)]
    words += [] if datasets is None else ["--datasets", _joined(datasets)]
    words += [
        "--seeds",
        seeds if isinstance(seeds, str) else str(seeds) if isinstance(seeds, int | Integral) else _listed(seeds),
    ]
    for name, value in (settings or {}).items():
        several = isinstance(value, list | tuple)
        words += ["--set", f"{name}={'|'.join(map(str, value)) if several else value}"]
    for name, value in options.items():
        words += _words(f"--{name.replace('_', '-')}", value)
    code, said = _follow([sys.executable, "-m", "ganbench", "run", *words], say or _on_stderr)
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if code in (EXIT_COMPLETED, EXIT_FAILED):  # trials that failed are results
        return load_results(Path(results))
    text = "\n".join(said[-20:])
    raise UsageError(text) if code == 2 else RuntimeError(f"ganbench run ended with exit code {code}:\n{text}")


def _follow(words: list[str], say: Callable[[str], object]) -> tuple[int, list[str]]:
    """Run a command and hand on every line of its standard error; return its exit code and these lines."""
    said = []
    # In a group of its own: a terminal's Ctrl-C would reach it twice.
    with subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        while True:
            try:
                for line in process.stderr:
                    said.append(line.rstrip("\n"))
                    say(said[-1])
                return process.wait(), said
            except KeyboardInterrupt:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGINT)  # once: stop at the next checkpoint; twice: end at once
            except BaseException:
                process.terminate()
                raise


def _on_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _words(option: str, value: Any) -> list[str]:
    if value is None or value is False:
        return []
    if value is True:
        return [option]
    if isinstance(value, list | tuple) and option in ("--executor-option", "--plugin-path"):
        return [word for each in value for word in (option, str(each))]
    return [option, _joined(value) if isinstance(value, list | tuple) else str(value)]


def _joined(names: str | Iterable[str]) -> str:
    return names if isinstance(names, str) else ",".join(map(str, names))


def _listed(seeds: Iterable[int]) -> str:
    """One seed is ``7,``: without the comma it would be how many."""
    return "".join(f"{seed}," for seed in seeds)
