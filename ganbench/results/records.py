"""The record of a trial as a file: immutable canonical JSON with its own hash inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from ganbench.results.schema import Evaluation, MetricColumn, Outcome, Record, Reference, identify
from ganbench.results.spec import SCHEMA, Planned
from ganbench.utils import canonical_json, sealed_json
from ganbench.utils.files import NotPlain, read_plain
from ganbench.utils.sealed_json import Damaged as DamagedRecord
from ganbench.utils.typed_json import convert

__all__ = ["MOST_BYTES", "DamagedRecord", "as_json", "columns", "compose", "read", "seal", "unseal"]

MOST_BYTES = 1 << 24  # of a file that is read; a record of 5,000 evaluations has about 10 million
MOST_TOLD = 3  # different faults of one metric that a note names; it counts the others


def compose(
    planned: Planned,
    reference: Reference,
    floors: Mapping[str, float | None],
    outcome: Outcome,
    floor_notes: Mapping[str, str] = {},
    floor_spreads: Mapping[str, float | None] = {},
) -> Record:
    """The record of a trial from its plan, its dataset's reference and its outcome; its hash is not computed yet."""
    environment = planned.environment if outcome.environment is None else outcome.environment
    return Record(
        schema=SCHEMA,
        identity=planned.spec.identity,
        label=planned.label,
        role=planned.role,
        primary=planned.primary,
        metrics=columns(planned.metrics, outcome.values, floors, floor_notes, outcome.evaluations, 0, floor_spreads),
        reference=reference,
        environment=environment,
        environment_hash=canonical_json.sha256(environment),
        status=outcome.status,
        reason=outcome.reason,
        values={name: outcome.values.get(name) for name in planned.metrics} | outcome.values,
        fid_train=outcome.fid_train,
        parameters=outcome.parameters,
        adversarial=outcome.adversarial,
        decision_threshold=outcome.decision_threshold,
        evaluations=outcome.evaluations,
        telemetry=outcome.full_telemetry,
        state_sha256=outcome.state_sha256,
        conditional=planned.conditional or UNSET,
        true_family=planned.true_family or UNSET,
    )


def columns(
    metrics: Mapping[str, Mapping[str, Any]],
    values: Mapping[str, float | None],
    floors: Mapping[str, float | None],
    floor_notes: Mapping[str, str] = {},
    evaluations: Sequence[Evaluation] = (),
    first: int = 0,
    floor_spreads: Mapping[str, float | None] = {},
) -> dict[str, MetricColumn]:
    """What tables need to know of each column: a metric that gives several numbers has one for each.

    Args:
        metrics: by name, what ``Metric.about`` says.
        values: by column: ``prd``, and ``prd.f8`` if that metric gave it.
        floors, floor_notes, floor_spreads: likewise.
        evaluations: of the trial, in which a metric may have failed.
        first: position of the first column.
    """
    found: dict[str, MetricColumn] = {}
    failed = list(dict.fromkeys(column for evaluation in evaluations for column in evaluation.faults))
    given = [*values, *(column for column in failed if column not in values)]
    for name, about in metrics.items():
        for column in (name, *(key for key in given if key.startswith(f"{name}."))):
            empty = values.get(column) is None and evaluations and column in evaluations[-1].faults
            found[column] = MetricColumn(
                label=f"{about['label']} {column[len(name) + 1 :]}".strip(),
                direction=about["direction"],
                floor=floors.get(column),
                position=first + len(found),
                rows_per_feature=about.get("rows_per_feature", UNSET),
                source=about.get("source", UNSET),
                status="failed" if empty else UNSET,
                note=_note(column, about, evaluations) if column in failed else UNSET,
                floor_note=floor_notes.get(column, UNSET),
                floor_spread=UNSET if (spread := floor_spreads.get(column)) is None else spread,
            )
    return found


def _note(column: str, about: Mapping[str, Any], evaluations: Sequence[Evaluation]) -> str:
    """``late (late.py) returned nan at step 0 and at step 100``."""
    steps: dict[str, list[int]] = {}
    for evaluation in evaluations:
        if column in evaluation.faults:
            steps.setdefault(evaluation.faults[column], []).append(evaluation.step)
    told = [
        f"{what} at step {at[0]:,}{f' and {len(at) - 1} more of {len(evaluations)} evaluations' if at[1:] else ''}"
        for what, at in steps.items()
    ]
    others = f"; and {len(told) - MOST_TOLD} other faults" if len(told) > MOST_TOLD else ""
    return f"{column}{offered_by(about)} {'; '.join(told[:MOST_TOLD])}{others}"


def offered_by(about: Mapping[str, Any]) -> str:
    """Who offers a metric, in brackets behind its name."""
    return f" ({about['distribution']})" if about.get("distribution") else ""


def as_json(part: Struct | list[Evaluation]) -> Any:
    """A record, or a part of one, as the JSON value that ``record.json`` holds."""
    return msgspec.to_builtins(part)


def seal(record: Record) -> str:
    """The text of a record, its ``sha256`` included; the same record always gives the same text."""
    return sealed_json.seal(as_json(record))


def unseal(text: str | bytes) -> Record:
    """Read the text of a record; raises DamagedRecord unless it is what ``seal`` wrote."""
    content = text if isinstance(text, bytes) else text.encode()
    found = sealed_json.parse(content)
    schema = found.get("schema")
    if type(schema) is not int:
        raise DamagedRecord("it is no record of ganbench: it has no schema number")
    if not 0 < schema <= SCHEMA:
        raise DamagedRecord(
            f"schema {str(schema)[:20]!r} is not one that this version of ganbench reads (1 to {SCHEMA}): upgrade it"
        )
    sealed_json.verify(found, content)
    try:
        typed = set(Record.__struct_fields__) - {"identity", "environment"}  # which let parts of theirs be anything
        record = convert(found, Record, [part for name, part in found.items() if name not in typed])
    except ValueError as reason:
        raise DamagedRecord(f"its hash is right, but {reason}") from None
    # Of the JSON, not of the record: a later version's part may have a field that this one does not know.
    for name, derived in identify(found["identity"]["trial"], found["identity"]["evaluation"]).items():
        if found["identity"][name] != derived:
            raise DamagedRecord(f"its hash is right, but its {name} does not follow from its identity")
    return record


def read(path: Path) -> Record:
    """The record in a file; raises DamagedRecord, or OSError where the disk does not let it be read."""
    try:
        return unseal(read_plain(path, MOST_BYTES))
    except NotPlain as reason:
        raise DamagedRecord(str(reason.strerror)) from None
