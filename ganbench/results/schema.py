"""The shape of a record: what stands where, and within which bounds.

The hash of a record proves that it was not damaged, and nothing about who made it: anybody can compute one.
What tables, paths and pages are made from is therefore checked for its type and size first. Fields that are not
named here are kept, as long as they are shallow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ganbench.results.spec import identify
from ganbench.utils.names import check_column, check_name

Check = Callable[[Any], None]

STATUSES = ("completed", "diverged", "error", "crashed", "timeout", "oom")
MOST_WHOLE = 2**53  # what a float64 holds exactly
MOST_MEASURE = 1e100  # features are float32: no squared distance of theirs comes near it
MOST_TEXT = 10_000
MOST_EVALUATIONS = 5001  # one before training, and as many as ``ganbench run`` takes
MOST_COLUMNS = 1000
DEPTH = 32


class Misshapen(ValueError):
    """A value that has no place in a record. The message says where it stands and what was expected."""

    def __init__(self, expected: str) -> None:
        super().__init__(expected)
        self.expected, self.path = expected, ""

    def __str__(self) -> str:
        return f"{self.path or 'it'} is not {self.expected}"


def within(check: Check, value: Any, name: Any) -> None:
    """Check a part, and name it where it is wrong."""
    try:
        check(value)
    except Misshapen as reason:
        reason.path = f"{str(name)[:100]!r}" + (f", {reason.path}" if reason.path else "")
        raise


def number(value: Any) -> None:
    if type(value) is not float and (type(value) is not int or abs(value) > MOST_WHOLE):
        raise Misshapen("a number")


def measure(value: Any) -> None:
    """A number whose square, and whose ratio to another one, can still be computed with."""
    number(value)
    if value and not 1 / MOST_MEASURE <= abs(value) <= MOST_MEASURE:
        raise Misshapen(f"0 or a number from {1 / MOST_MEASURE:g} to {MOST_MEASURE:g}")


def whole(low: int = 0, high: int = MOST_WHOLE) -> Check:
    def check(value: Any) -> None:
        if type(value) is not int or not low <= value <= high:
            raise Misshapen(f"a whole number from {low} to {high}")

    return check


def text(value: Any) -> None:
    if type(value) is not str or len(value) > MOST_TEXT:
        raise Misshapen(f"a text of at most {MOST_TEXT:,} characters")


def flag(value: Any) -> None:
    if type(value) is not bool:
        raise Misshapen("true or false")


def one_of(*values: str) -> Check:
    def check(value: Any) -> None:
        if type(value) is not str or value not in values:
            raise Misshapen(f"one of {', '.join(values)}")

    return check


def named(rule: Callable[[str], str]) -> Check:
    def check(value: Any) -> None:
        try:
            rule(value if type(value) is str else "")
        except ValueError as reason:
            raise Misshapen(f"a name that can stand there ({reason})") from None

    return check


def extractor(value: Any) -> None:
    """``inception-v3``, or with the weights of a file ``inception-v3@1a2b3c4d``."""
    name, at, digest = value.partition("@") if type(value) is str else ("", "", "")
    named(check_name)(name)
    if at and not re.fullmatch(r"[0-9a-f]{8}", digest):
        raise Misshapen("the name of an extractor")


def optional(check: Check) -> Check:
    def run(value: Any) -> None:
        if value is not None:
            check(value)

    return run


def listed(check: Check, most: int = MOST_COLUMNS) -> Check:
    def run(value: Any) -> None:
        if type(value) is not list or len(value) > most:
            raise Misshapen(f"a list of at most {most:,}")
        for i, item in enumerate(value):
            within(check, item, i)

    return run


def pair(value: Any) -> None:
    listed(measure)(value)
    if len(value) != 2:
        raise Misshapen("a pair of numbers")


def mapped(check: Check, key: Check | None = None) -> Check:
    def run(value: Any) -> None:
        if type(value) is not dict or len(value) > MOST_COLUMNS:
            raise Misshapen(f"an object of at most {MOST_COLUMNS:,} fields")
        for name, item in value.items():
            within(check, item, name)
            if key is not None:
                within(key, name, name)

    return run


def fields(required: Mapping[str, Check], others: Mapping[str, Check] | None = None) -> Check:
    """An object with these fields, some of which may be missing; what else it holds is shallow."""
    known = {**required, **(others or {})}

    def run(value: Any) -> None:
        if type(value) is not dict:
            raise Misshapen("an object")
        for name in required:
            if name not in value:
                raise Misshapen(f"complete: {name} is missing")
        for name, item in value.items():
            within(known.get(name, shallow), item, name)

    return run


def shallow(value: Any, depth: int = DEPTH) -> None:
    """Any JSON value that is not nested too deeply."""
    if type(value) in (dict, list):
        if not depth:
            raise Misshapen(f"nested at most {DEPTH} deep")
        for item in value.values() if type(value) is dict else value:
            shallow(item, depth - 1)


def an_object(value: Any) -> None:
    fields({})(value)


SCORES = mapped(optional(number))
_MEASURES = mapped(optional(measure))
_SIZE = whole(low=1)

WATCH = fields(
    {},
    {
        **dict.fromkeys(("fid", "trace", "modes", "mode_kl", "coverage", "d_auc", "d_auc_train"), optional(measure)),
        **dict.fromkeys(("d_accuracy_real", "d_accuracy_train", "d_accuracy_fake"), optional(measure)),
        "parameter_norms": optional(SCORES),
    },
)
EVALUATION = fields(
    {"step": whole(), "images_seen": whole(), "values": SCORES},
    {"watch": optional(WATCH), "fid_train": optional(number)},
)
PROGRESS = fields({}, {"attempt": whole(), "images": whole(), "evaluation": EVALUATION})
METRICS = mapped(
    fields(
        {"label": text, "direction": one_of("min", "max", "none")},
        {"floor": optional(number), "position": whole(high=10**6)},
    ),
    key=named(check_column),
)
ENVIRONMENT = fields({}, {"packages": mapped(optional(text))})
IDENTITY = fields(
    {
        "trial": fields(
            {
                **{"schema": whole(), "variant": named(check_name), "dataset": named(check_name)},
                **dict.fromkeys(("distribution", "source", "dataset_hash", "precision", "engine", "device"), text),
                **{"hyperparameters": an_object, "seed": whole(high=2**63 - 1)},
                **{"budget_images": _SIZE, "batch_size": _SIZE},
            }
        ),
        "evaluation": fields(
            {
                **{"extractor": extractor, "extractor_hash": text, "split": text},
                **{"samples": _SIZE, "evaluations": _SIZE, "metrics_version": whole()},
            }
        ),
    }
)
_RECORD = fields(
    {
        "identity": IDENTITY,
        "label": text,
        "role": one_of("variant", "baseline", "planted"),
        "primary": named(check_column),
        "metrics": METRICS,
        "reference": fields(
            {},
            {
                **{"trace": optional(measure), "modes": optional(measure)},
                "centres": optional(listed(pair, most=100_000)),
            },
        ),
        "environment": ENVIRONMENT,
        "environment_hash": text,
        "status": one_of(*STATUSES),
        "values": SCORES,
        "evaluations": listed(EVALUATION, MOST_EVALUATIONS),
    },
    {
        **{"reason": optional(text), "fid_train": optional(number), "parameters": mapped(whole())},
        **{"adversarial": optional(flag), "decision_threshold": optional(number), "state_sha256": optional(text)},
        "telemetry": optional(
            fields(
                {},
                {
                    "gradient_spikes": optional(SCORES),
                    "gradient_norm_tenths": optional(mapped(listed(optional(number)))),
                    "first_nonfinite": optional(fields({"what": text, "step": whole()})),
                },
            )
        ),
    },
)


def check_record(record: Any) -> None:
    """Raise Misshapen unless ``record`` has the shape of a record, and an identity that follows from its own parts."""
    _RECORD(record)
    identity = record["identity"]
    for name, derived in identify(identity["trial"], identity["evaluation"]).items():
        if identity.get(name) != derived:
            raise Misshapen(f"consistent: its {name} does not follow from its identity")
