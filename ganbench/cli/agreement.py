"""Whether numbers found again agree with a record: to the bit in its environment, within a tolerance in another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ganbench.utils import canonical_json

Record = dict[str, Any]

SAME, CLOSE, WRONG, UNKNOWN = "bit-identical", "within tolerance", "MISMATCH", "not checked"
TOLERANCE = 0.01  # of a number computed from a stored state in another environment, relative or of 1
ENOUGH = 3  # seeds of a row whose spread says how much two trainings of a trial in other environments may differ
OUTCOME = ("status", "reason", "evaluations", "fid_train", "state_sha256", "telemetry")


def compare_values(recorded: Mapping[str, Any], found: Mapping[str, Any], exact: bool) -> tuple[str, str]:
    """The verdict on values by column, and the first one that differs too much."""
    different = [name for name in recorded if recorded[name] != found.get(name)]
    if not different:
        return SAME, ""
    for name in different:
        then, now = recorded[name], found.get(name)
        near = then is not None and now is not None and math.isclose(then, now, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        if exact or not near:
            return WRONG, f"{name} is {then!r} in the record and {now!r} now"
    return CLOSE, "in another environment than the record's"


def judge_rerun(record: Record, outcome: Record, others: Iterable[Record]) -> tuple[str, str]:
    """The verdict on a trial that was trained again.

    In another environment a training ends elsewhere, as with another seed: then its score has to lie where those of the
    other seeds lie, their range widened by its width.
    """
    if "failed" in outcome:
        return UNKNOWN, outcome["failed"]
    if outcome.get("telemetry"):
        outcome = {**outcome, "telemetry": {**outcome["telemetry"], "first_nonfinite": outcome["first_nonfinite"]}}
    different = [name for name in OUTCOME if outcome.get(name) != record[name]]
    different += [name for name, value in record["values"].items() if outcome["values"].get(name) != value]
    if not different:
        return SAME, ""
    if outcome["environment_hash"] == record["environment_hash"]:
        name = different[0]
        now, then = (s.get(name, s["values"].get(name)) for s in (outcome, record))
        return WRONG, f"trained again, {name} differs: {_short(then)} in the record and {_short(now)} now"
    primary = record["primary"]
    seeds = [o["values"][primary] for o in others if o["status"] == "completed" and _line(o) == _line(record)]
    score = outcome["values"].get(primary)
    if len(seeds) < ENOUGH or None in (*seeds, score):
        return (
            UNKNOWN,
            f"trained in another environment, and there are not {ENOUGH} seeds that say what that may change",
        )
    low, high = min(seeds), max(seeds)
    told = f"{primary} {score:.6g} in another environment; the seeds of its row have {low:.6g} to {high:.6g}"
    return (CLOSE if low - (high - low) <= score <= high + (high - low) else WRONG), told


def _line(record: Record) -> str:
    """What the seeds of a row of the leaderboard share."""
    trial = {name: value for name, value in record["identity"]["trial"].items() if name != "seed"}
    return canonical_json.dumps([trial, record["identity"]["evaluation"]])


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
