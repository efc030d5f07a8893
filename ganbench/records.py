"""The record of a trial: immutable canonical JSON with its own hash inside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ganbench import canonical
from ganbench.planning import Planned
from ganbench.spec import SCHEMA

STATUSES = ("completed", "diverged", "error", "crashed", "timeout", "oom")
_REQUIRED = {
    "identity": dict,
    "label": str,
    "role": str,
    "primary": str,
    "metrics": dict,
    "reference": dict,
    "environment": dict,
    "environment_hash": str,
    "status": str,
    "values": dict,
    "evaluations": list,
}


class DamagedRecord(ValueError):
    """A record whose text is not what was written. The message says what is wrong with it."""


def compose(
    planned: Planned, reference: dict[str, Any], floors: dict[str, float | None], outcome: dict[str, Any]
) -> dict[str, Any]:
    """The record of a trial from its plan, its dataset's reference and its outcome.

    An outcome without a word from the trial itself (it crashed, or ran out of time) has only ``status`` and ``reason``.
    """
    environment = outcome.get("environment", planned.environment)
    telemetry = outcome.get("telemetry")
    if telemetry is not None:
        telemetry = {**telemetry, "first_nonfinite": outcome["first_nonfinite"]}
    return {
        "schema": SCHEMA,
        "identity": planned.spec.identity,
        "label": planned.label,
        "role": planned.role,
        "primary": planned.primary,
        "metrics": columns(planned.metrics, outcome.get("values", {}), floors),
        "reference": reference,
        "environment": environment,
        "environment_hash": canonical.sha256(environment),
        "status": outcome["status"],
        "reason": outcome["reason"],
        "values": {name: outcome.get("values", {}).get(name) for name in planned.metrics} | outcome.get("values", {}),
        "fid_train": outcome.get("fid_train"),
        "parameters": outcome.get("parameters", {}),
        "adversarial": outcome.get("adversarial"),
        "decision_threshold": outcome.get("decision_threshold"),
        "evaluations": outcome.get("evaluations", []),
        "telemetry": telemetry,
        "state_sha256": outcome.get("state_sha256"),
    }


def columns(
    metrics: Mapping[str, dict[str, Any]], values: Mapping[str, Any], floors: Mapping[str, float | None], first: int = 0
) -> dict[str, dict[str, Any]]:
    """What tables need to know of each column: a metric that gives several numbers has one for each.

    Args:
        metrics: by name, label and direction.
        values: by column: ``prd``, and ``prd.f8`` if that metric gave it.
        floors: likewise.
        first: position of the first column.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, about in metrics.items():
        for column in (name, *(key for key in values if key.startswith(f"{name}."))):
            label = f"{about['label']} {column[len(name) + 1 :]}".strip()
            found[column] = {**about, "label": label, "floor": floors.get(column), "position": first + len(found)}
    return found


def seal(record: dict[str, Any]) -> str:
    """The text of a record, its ``sha256`` included; the same record always gives the same text."""
    content = {key: value for key, value in record.items() if key != "sha256"}
    return canonical.dumps({**content, "sha256": canonical.sha256(content)}) + "\n"


def unseal(text: str | bytes) -> dict[str, Any]:
    """Read the text of a record; raises DamagedRecord unless its hash is that of everything else in it."""
    try:
        record = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as reason:
        raise DamagedRecord(f"not valid JSON ({reason})") from None
    if not isinstance(record, dict):
        raise DamagedRecord("not a JSON object")
    schema = record.get("schema")
    if not isinstance(schema, int) or schema > SCHEMA:
        raise DamagedRecord(
            f"schema {schema!r} is newer than this version of ganbench reads ({SCHEMA}); upgrade ganbench"
        )
    if not _is_whole(text if isinstance(text, bytes) else text.encode(), record.get("sha256")):
        raise DamagedRecord("its content does not match its hash: it was edited, cut short or damaged")
    for key, kind in _REQUIRED.items():
        if not isinstance(record.get(key), kind):
            raise DamagedRecord(f"{key} is missing or of the wrong type")
    if record["status"] not in STATUSES:
        raise DamagedRecord(f"unknown status {record['status']!r}")
    return record


def _is_whole(text: bytes, digest: Any) -> bool:
    """Whether ``text`` is what ``seal`` wrote. It hashed the content's text, which is this one without the hash:
    taking that out is faster than writing the content again, and thousands of records are read for one table.
    """
    if not isinstance(digest, str):
        return False
    before, found, after = text.partition(f',"sha256":"{digest}"'.encode(errors="replace"))
    return bool(found) and after.endswith(b"}\n") and hashlib.sha256(before + after[:-1]).hexdigest() == digest


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")
