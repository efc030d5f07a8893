"""Canonical JSON: one text for one value, so that hashes and files are equal when values are."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any


def dumps(value: Any) -> str:
    """Sorted keys, no spaces, shortest exact floats, UTF-8; raises ValueError for NaN and infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def loads(text: bytes) -> Any:
    """The value of a JSON text in UTF-8, from anybody.

    Raises:
        ValueError: it is no JSON, or holds what JSON has not: NaN, infinity, a number that only fits one of them,
            one key twice; or it is nested deeper than any record.
    """
    try:
        return json.loads(text.decode(), parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("it holds one key twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large for a number")
    return number


def sha256(value: Any) -> str:
    """Hex SHA-256 of the canonical JSON of ``value``."""
    return hashlib.sha256(dumps(value).encode()).hexdigest()
