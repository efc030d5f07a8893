"""Watches which files are opened for reading, to find what a plugin reads without saying so."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import source_from_cache
from pathlib import Path
from typing import Any

_opened: list[str] = []
_watching = False
_installed = False


def watch() -> None:
    """Note every file that this process opens for reading from now on, imports included."""
    global _installed, _watching
    _watching = True
    if not _installed:  # a hook cannot be taken out again
        sys.addaudithook(_note)
        _installed = True


@contextmanager
def watched() -> Iterator[None]:
    """Watch within a block; where that is done already, what was opened before counts too."""
    global _watching
    before = _watching
    if not before:
        _opened.clear()
    watch()
    try:
        yield
    finally:
        _watching = before


def opened() -> list[Path]:
    """The plain files that were opened while watching, each once, without links; of compiled modules the source."""
    found = {Path(os.path.realpath(_source(name))) for name in _opened}
    return sorted(path for path in found if path.is_file())


def _source(name: str) -> str:
    with suppress(ValueError, NotImplementedError):
        return source_from_cache(name) if name.endswith(".pyc") else name
    return name


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event == "open":
        path, _, flags = arguments
        if isinstance(path, str | bytes | os.PathLike) and flags & os.O_ACCMODE == os.O_RDONLY:
            _opened.append(os.fsdecode(path))
