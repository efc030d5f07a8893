"""Where trials ran: which fields of two environments differ, such as the version of torch or the number of threads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ganbench.utils import canonical_json
from ganbench.utils.console import first_few

MOST_TOLD = 4  # fields that a sentence names


def flat(environment: Any) -> dict[str, str]:
    """The fields of a record's ``environment`` by name, the versions of packages among them."""
    if not isinstance(environment, Mapping):
        return {}
    packages = environment.get("packages")
    packages = packages if isinstance(packages, Mapping) else {}
    return {str(k)[:60]: str(v)[:60] for k, v in [*environment.items(), *packages.items()] if k != "packages"}


def differences(before: Iterable[str], after: Iterable[str]) -> str:
    """``torch 2.14.1 before, 2.15.0 after``: the fields in which environments differ, each given as JSON.

    Nothing where that is not known, as in tables of earlier versions, or where they are the same.
    """
    sides = [[fields for text in sorted(set(side)) if (fields := flat(_read(text)))] for side in (before, after)]
    if not all(sides):
        return ""
    told = []
    for name in sorted({name for side in sides for fields in side for name in fields}):
        values = [list(dict.fromkeys(fields.get(name, "none") for fields in side)) for side in sides]
        if set(values[0]) != set(values[1]):
            told.append(f"{name} {' and '.join(values[0])} before, {' and '.join(values[1])} after")
    return first_few(told, MOST_TOLD)


def _read(text: str) -> Any:
    try:
        return canonical_json.loads(text.encode(errors="replace"))
    except ValueError:
        return {}
