"""The record of a trial: immutable canonical JSON with its own hash inside."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganbench.results.schema import STATUSES, Misshapen, check_record
from ganbench.results.spec import SCHEMA, Planned
from ganbench.utils import canonical_json
from ganbench.utils.files import NotPlain, read_plain

__all__ = ["MOST_BYTES", "STATUSES", "DamagedRecord", "columns", "compose", "parse", "read", "seal", "unseal", "verify"]

MOST_BYTES = 1 << 24  # of a file that is read; a record of 5,000 evaluations has about 10 million


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
        "environment_hash": canonical_json.sha256(environment),
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


def seal(record: Mapping[str, Any]) -> str:
    """The text of a record, its ``sha256`` included; the same record always gives the same text."""
    content = {key: value for key, value in record.items() if key != "sha256"}
    return canonical_json.dumps({**content, "sha256": canonical_json.sha256(content)}) + "\n"


def unseal(text: str | bytes) -> dict[str, Any]:
    """Read the text of a record; raises DamagedRecord unless it is what ``seal`` wrote."""
    content = text if isinstance(text, bytes) else text.encode()
    record = parse(content)
    schema = record.get("schema")
    if type(schema) is not int or not 0 < schema <= SCHEMA:
        raise DamagedRecord(
            f"schema {str(schema)[:20]!r} is not one that this version of ganbench reads (1 to {SCHEMA}): upgrade it"
        )
    verify(record, content)
    try:
        check_record(record)
    except Misshapen as reason:
        raise DamagedRecord(f"its hash is right, but {reason}") from None
    return record


def read(path: Path) -> dict[str, Any]:
    """The record in a file; raises DamagedRecord, or OSError where the disk does not let it be read."""
    try:
        return unseal(read_plain(path, MOST_BYTES))
    except NotPlain as reason:
        raise DamagedRecord(str(reason.strerror)) from None


def parse(content: bytes) -> dict[str, Any]:
    """The JSON object in a file of results; raises DamagedRecord."""
    try:
        found = canonical_json.loads(content)
    except ValueError as reason:
        raise DamagedRecord(f"not valid JSON ({reason})") from None
    if not isinstance(found, dict):
        raise DamagedRecord("not a JSON object")
    return found


def verify(found: dict[str, Any], content: bytes) -> None:
    """Raise DamagedRecord unless ``content``, of which ``found`` was parsed, has the hash of everything else in it.

    ``seal`` hashed the text of the content, which is this one without the hash: taking that out is faster than
    writing the content again, and thousands of records are read for one table.
    """
    digest = found.get("sha256")
    before, mark, after = content.partition(f',"sha256":"{digest}"'.encode(errors="replace"))
    whole = bool(mark) and after.endswith(b"}\n") and hashlib.sha256(before + after[:-1]).hexdigest() == digest
    if whole and b"\\u" in content:  # as an escape, half a character can stand there, and no table can hold it
        try:
            canonical_json.dumps(found).encode()
        except (ValueError, RecursionError):
            whole = False
    if not whole:
        raise DamagedRecord("its content does not match its hash: it was edited, cut short or damaged")
