"""Exit codes, the error for what a user asked for and cannot have, and messages that are safe to print."""

from __future__ import annotations

import re
import sys
import sysconfig
import traceback
from pathlib import Path

EXIT_COMPLETED, EXIT_FAILED, EXIT_USAGE, EXIT_DAMAGED, EXIT_INTERRUPTED = 0, 1, 2, 3, 130
MOST_CHARACTERS = 500
_FOLDERS = re.compile(r"(?<![\w.:/\\])(?:[A-Za-z]:)?(?:[/\\][^\s/\\:'\"]+)+[/\\](?=[^\s/\\])")


class UsageError(ValueError):
    """What was asked for cannot be done: the command line prints the message and exits 2.

    The message says what, why, and what to do instead.
    """


def one_line(text: str) -> str:
    """A message for tables and terminals, the same on every machine: no address, folder or control character."""
    text = " ".join("".join(c if c.isprintable() or c.isspace() else "?" for c in text).split())
    text = _FOLDERS.sub("", re.sub(r"0x[0-9a-fA-F]+", "0x...", text))
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 3] + "..."


def printable(text: str) -> str:
    """One line that cannot steer a terminal: control characters as their escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def in_words(reason: BaseException) -> str:
    """One line: the type of an exception and its message, if it is able to say one."""
    try:
        message = str(reason)
    except Exception:
        message = "its message cannot be shown"
    return one_line(f"{type(reason).__name__}: {message}" if message else type(reason).__name__)


def location(reason: BaseException) -> str:
    """Where an exception came from, ``(my_gan.py, line 12)``: the last line outside ganbench, torch and Python's own
    library that it passed; empty if there is none.
    """
    for frame in reversed(traceback.extract_tb(reason.__traceback__)):
        path = Path(frame.filename)
        if path.is_file() and not _is_ours(path):
            return f" ({path.name}, line {frame.lineno})"
    return ""


def _is_ours(path: Path) -> bool:
    """Whether a file belongs to ganbench, torch, pluggy or the standard library: not to a plugin or its libraries."""
    standard = path.is_relative_to(sysconfig.get_path("stdlib")) and "site-packages" not in path.parts
    modules = [module for name in ("ganbench", "torch", "pluggy") if (module := sys.modules.get(name)) is not None]
    return standard or any(path.is_relative_to(Path(str(module.__file__)).parent) for module in modules)
