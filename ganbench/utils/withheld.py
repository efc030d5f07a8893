"""Forbids downloads and other long work for a while: ``ganbench run --dry-run`` says what a run would need."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

_withheld = False


class Withheld(Exception):
    """Something that has to be done first, and was not to be done now; the message says what, as in "download it"."""


@contextlib.contextmanager
def withheld() -> Iterator[None]:
    """Forbid downloads and other slow work within the block: ``may_do`` raises there."""
    global _withheld
    _withheld = True
    try:
        yield
    finally:
        _withheld = False


def may_do(what: str) -> None:
    """Ask for leave before work that takes long or leaves files behind; raises Withheld where there is none."""
    if _withheld:
        raise Withheld(what)
