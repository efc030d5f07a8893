"""What rescoring adds to a record: ``rescored.json`` beside it, with its own hash and the record's inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganbench.results import records
from ganbench.results.records import DamagedRecord
from ganbench.results.schema import ENVIRONMENT, METRICS, SCORES, Misshapen, fields, text, whole
from ganbench.utils.files import read_plain

FILE = "rescored.json"
SCHEMA = 1
_FIELDS = {"record": text, "metrics": METRICS, "values": SCORES, "environment": ENVIRONMENT}


def seal(found: Mapping[str, Any]) -> str:
    """The text of ``{record, metrics, values, environment}``; the same content always gives the same text."""
    return records.seal({"schema": SCHEMA, **{key: found[key] for key in _FIELDS}})


def unseal(content: bytes, record: Mapping[str, Any]) -> dict[str, Any]:
    """Read what ``seal`` wrote for a record.

    Raises:
        DamagedRecord: it is anything else, or belongs to another record.
    """
    found = records.parse(content)
    records.verify(found, content)
    try:
        fields({"schema": whole(), **_FIELDS})(found)
    except Misshapen as reason:
        raise DamagedRecord(f"its hash is right, but {reason}") from None
    if found["schema"] != SCHEMA:
        raise DamagedRecord(f"schema {found['schema']} is not what this version of ganbench reads; upgrade ganbench")
    if found["record"] != record["sha256"]:
        raise DamagedRecord("it was computed for another record")
    return found


def with_rescored(record: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A trial's record with what rescoring added to it; raises DamagedRecord where that was damaged."""
    try:
        content = read_plain(folder / FILE, records.MOST_BYTES)
    except FileNotFoundError:
        return record
    except OSError as reason:
        raise DamagedRecord(f"it cannot be read: {reason.strerror}") from None
    return merged(record, unseal(content, record))


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
