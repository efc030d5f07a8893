"""What rescoring adds to a record: ``rescored.json`` beside it, with its own hash and the record's inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ganbench import canonical
from ganbench.records import DamagedRecord

FILE = "rescored.json"
SCHEMA = 1
_REQUIRED = {"record": str, "metrics": dict, "values": dict, "environment": dict}


def seal(found: Mapping[str, Any]) -> str:
    """The text of ``{record, metrics, values, environment}``; the same content always gives the same text."""
    content = {"schema": SCHEMA, **{key: found[key] for key in _REQUIRED}}
    return canonical.dumps({**content, "sha256": canonical.sha256(content)}) + "\n"


def unseal(text: bytes, record: Mapping[str, Any]) -> dict[str, Any]:
    """Read what ``seal`` wrote for a record.

    Raises:
        DamagedRecord: it is anything else, or belongs to another record.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as reason:
        raise DamagedRecord(f"not valid JSON ({reason})") from None
    if not isinstance(found, dict) or not all(isinstance(found.get(key), kind) for key, kind in _REQUIRED.items()):
        raise DamagedRecord("it has not the content of a rescored.json")
    try:
        whole = seal(found).encode() == text
    except ValueError:
        whole = False
    if not whole:
        raise DamagedRecord("its content does not match its hash: it was edited, cut short or damaged")
    if found["record"] != record["sha256"]:
        raise DamagedRecord("it was computed for another record")
    return found


def merged(record: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """The record with the metrics that it does not have itself; its own values stay."""
    new = {name: about for name, about in found["metrics"].items() if name not in record["metrics"]}
    after = max((about.get("position", 0) for about in record["metrics"].values()), default=-1) + 1
    ordered = sorted(new, key=lambda name: (new[name].get("position", 0), name))
    metrics = {name: {**new[name], "position": after + i} for i, name in enumerate(ordered)}
    return {
        **record,
        "metrics": {**record["metrics"], **metrics},
        "values": {**found["values"], **record["values"]},
    }
