"""What rescoring adds to a record: ``rescored.json`` beside it, with its own hash and the record's inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from ganbench.results.records import MOST_BYTES, DamagedRecord
from ganbench.results.schema import Columns, Record, Scores, check_columns, check_environment
from ganbench.utils import sealed_json
from ganbench.utils.files import read_plain
from ganbench.utils.typed_json import Text, Whole, convert

FILE = "rescored.json"
SCHEMA = 1


class Rescored(Struct, frozen=True, kw_only=True):
    """Metrics of a finished trial that were computed later; fields as in ``Record``, ``record`` is its hash."""

    schema: Whole = SCHEMA
    record: Text
    metrics: Columns
    values: Scores
    environment: dict[str, Any]

    def __post_init__(self) -> None:
        check_columns(self.metrics)
        check_environment(self.environment)

    def has(self, metric: str) -> bool:
        """Whether the metric was computed; one that failed is computed again."""
        return metric in self.metrics and self.metrics[metric].status is UNSET


def seal(found: Rescored) -> str:
    """The text of the file; the same content always gives the same text."""
    return sealed_json.seal(msgspec.to_builtins(found))


def unseal(content: bytes, record: Record) -> Rescored:
    """Read what ``seal`` wrote for a record; raises DamagedRecord if it is anything else, or of another record."""
    content_found = sealed_json.unseal(content)
    try:
        found = convert(content_found, Rescored)
    except ValueError as reason:
        raise DamagedRecord(f"its hash is right, but {reason}") from None
    if found.schema != SCHEMA:
        raise DamagedRecord(f"schema {found.schema} is not what this version of ganbench reads; upgrade ganbench")
    if found.record != record.sha256:
        raise DamagedRecord("it was computed for another record")
    return found


def read(folder: Path, record: Record) -> Rescored | None:
    """What rescoring found for a trial; None where it was not rescored; raises DamagedRecord where that is damaged."""
    try:
        return unseal(read_plain(folder / FILE, MOST_BYTES), record)
    except FileNotFoundError:
        return None
    except OSError as reason:
        raise DamagedRecord(f"it cannot be read: {reason.strerror}") from None


def with_rescored(record: Record, folder: Path) -> Record:
    """A trial's record with what rescoring added to it; raises DamagedRecord where that was damaged."""
    found = read(folder, record)
    return record if found is None else merged(record, found)


def merged(record: Record, found: Rescored) -> Record:
    """The record with the metrics that it does not have itself, or that failed in it; its own values stay."""
    own = {name: about for name, about in record.metrics.items() if about.status is UNSET or name not in found.metrics}
    new = {name: about for name, about in found.metrics.items() if name not in own}
    after = max((about.position for about in record.metrics.values()), default=-1) + 1
    ordered = sorted(new, key=lambda name: (new[name].position, name))
    metrics = {name: msgspec.structs.replace(new[name], position=after + i) for i, name in enumerate(ordered)}
    return msgspec.structs.replace(
        record,
        metrics={**own, **metrics},
        values={**found.values, **{name: value for name, value in record.values.items() if name not in new}},
    )
