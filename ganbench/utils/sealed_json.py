"""Sealed JSON: canonical JSON with its own SHA-256 inside, so that every damage and every edit is noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from ganbench.utils import canonical_json


class Damaged(ValueError):
    """A text that is not what ``seal`` wrote. The message says what is wrong with it."""


def seal(content: Mapping[str, Any]) -> str:
    """The text of an object, its ``sha256`` included; the same object always gives the same text."""
    content = {key: value for key, value in content.items() if key != "sha256"}
    return canonical_json.dumps({**content, "sha256": canonical_json.sha256(content)}) + "\n"


def unseal(text: bytes) -> dict[str, Any]:
    """The object, ``sha256`` included; raises Damaged."""
    found = parse(text)
    verify(found, text)
    return found


def parse(text: bytes) -> dict[str, Any]:
    """The JSON object in a text, its hash unverified; raises Damaged."""
    try:
        found = canonical_json.loads(text)
    except ValueError as reason:
        raise Damaged(f"not valid JSON ({reason})") from None
    if not isinstance(found, dict):
        raise Damaged("not a JSON object")
    return found


def verify(found: Mapping[str, Any], text: bytes) -> None:
    """Raise Damaged unless ``text``, of which ``found`` was parsed, has the hash of everything else in it.

    ``seal`` hashed the text of the content, which is this one without the hash: taking that out is faster than
    writing the content again, and thousands of records are read for one table.
    """
    digest = found.get("sha256")
    before, mark, after = text.partition(f',"sha256":"{digest}"'.encode(errors="replace"))
    found_digest = hashlib.sha256(before)
    found_digest.update(after[:-1])
    sound = bool(mark) and after.endswith(b"}\n") and found_digest.hexdigest() == digest
    # As an escape, half a character can stand there, and no table can hold it.
    if sound and b"\\" in text and b"\\u" in text:
        try:
            canonical_json.dumps(found).encode()
        except (ValueError, RecursionError):
            sound = False
    if not sound:
        raise Damaged("its content does not match its hash: it was edited, cut short or damaged")
