"""JSON from anybody as typed values: what stands where and within which bounds; a refusal names the place.

Types are msgspec Structs and the annotations below. What an annotation cannot say is checked in ``__post_init__``,
which raises ValueError.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from ganbench.utils.errors import printable

MOST_WHOLE = 2**53  # what a float64 holds exactly
MOST_TEXT = 10_000
MOST_ITEMS = 1000
DEPTH = 40
MOST_MESSAGE = 300

Whole = Annotated[int, Meta(ge=0, le=MOST_WHOLE)]
Size = Annotated[int, Meta(ge=1, le=MOST_WHOLE)]
Number = Annotated[int, Meta(ge=-MOST_WHOLE, le=MOST_WHOLE)] | float
Text = Annotated[str, Meta(max_length=MOST_TEXT)]

T = TypeVar("T")


def convert(value: Any, kind: type[T], open_parts: Iterable[Any] | None = None) -> T:
    """A parsed JSON value as ``kind``; fields that ``kind`` does not have are left out.

    ``open_parts``: those that ``kind`` lets be anything, where the depth of nothing else matters.

    Raises:
        ValueError: it is nested too deeply, or a part has another type or size; the message says where, and what was
            expected: ``identity.trial.seed: Expected `int` >= 0``.
    """
    for part in [value] if open_parts is None else open_parts:
        check_depth(part)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as reason:
        raise ValueError(_with_place(str(reason), value, kind)) from None


def check_depth(value: Any) -> None:
    """Raise ValueError for a JSON value that is nested too deeply to be walked safely."""
    level = [value] if type(value) in (dict, list) else []
    for _ in range(DEPTH):
        level = [
            item
            for container in level
            for item in (container.values() if type(container) is dict else container)
            if type(item) is dict or type(item) is list
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {DEPTH} deep")


def _with_place(message: str, value: Any, kind: Any) -> str:
    """The place first, its keys by name: msgspec writes ``[...]`` for every key of an open mapping."""
    what, at, path = message.rpartition(" - at `$")
    place, owner = "", value
    for part in re.findall(r"\[[^]]*\]|[^.[\]`]+", path) if at else ():
        key: Any = int(part[1:-1]) if part[1:-1].isdecimal() else part
        if part == "[...]" and isinstance(owner, dict):
            key = _wrong_key(owner, message, value, kind)
        owner = owner[key] if key != "[...]" else None
        place += f"[{key}]" if type(key) is int else f".{key:.100}"
    return printable(f"{place[1:]}: {what}" if place else what or message)[:MOST_MESSAGE]


def _wrong_key(owner: dict[str, Any], message: str, value: Any, kind: Any) -> str:
    """The key of the entry that alone gives the same message."""
    entries = dict(owner)
    try:
        for key, item in entries.items():
            owner.clear()
            owner[key] = item
            try:
                msgspec.convert(value, kind)
            except msgspec.ValidationError as reason:
                if str(reason) == message:
                    return key
    finally:
        owner.clear()
        owner.update(entries)
    return "[...]"
