"""The types of a record: what is written, what is read, what is refused, and what a later version may add."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from ganbench.results.records import DamagedRecord, as_json, read, seal, unseal
from ganbench.results.schema import identify
from ganbench.utils import sealed_json

RESULTS = Path(__file__).parents[2] / "results"
REAL = json.loads(min(RESULTS.rglob("dcgan/seed-0-*/record.json")).read_text())


def resealed(record: dict[str, Any]) -> bytes:
    identity = record["identity"]
    if identity:
        record = {**record, "identity": {**identity, **identify(identity["trial"], identity["evaluation"])}}
    return sealed_json.seal(record).encode()


def changed(place: str, value: Any) -> bytes:
    record = copy.deepcopy(REAL)
    owner: Any = record
    *way, last = (int(part) if part.isdecimal() else part for part in place.split("/"))
    for part in way:
        owner = owner[part]
    owner[last] = value
    return resealed(record)


def test_every_record_that_ships_is_written_again_byte_for_byte() -> None:
    paths = sorted(RESULTS.rglob("seed-[01]-*/record.json"))
    assert len(paths) > 100
    for path in paths:
        record = read(path)
        assert seal(record) == path.read_text()
        assert as_json(record) == json.loads(path.read_text())


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("identity/trial/seed", -1, "identity.trial.seed: Expected `int` >= 0"),
        ("identity/trial/seed", True, "identity.trial.seed: Expected `int`, got `bool`"),
        ("identity/trial/variant", "../x", "identity.trial: '../x' is not a valid name"),
        ("identity/evaluation/samples", 0, "identity.evaluation.samples: Expected `int` >= 1"),
        ("identity", {}, "identity: Object missing required field `trial`"),
        ("values/fid", "2.5", "values.fid: Expected `int | float | null`, got `str`"),
        ("values/fid", 2**53 + 1, "values.fid: Expected `int` <= 9007199254740992"),
        ("metrics/fid/direction", "sideways", "metrics.fid.direction: Invalid enum value 'sideways'"),
        ("metrics/rank", REAL["metrics"]["fid"], "'rank' is not a valid column"),
        ("evaluations/3/step", 1.5, "evaluations[3].step: Expected `int`, got `float`"),
        ("evaluations/3/watch/losses/generator", [], "evaluations[3].watch.losses.generator: Expected `int | float"),
        ("evaluations/3/watch/fid", 1e-101, "evaluations[3].watch: fid is not 0 or a number from 1e-100 to 1e+100"),
        ("telemetry/gradient_norm_tenths/generator/2", "x", "telemetry.gradient_norm_tenths.generator[2]: Expected"),
        ("environment/packages", {"torch": 2}, "package 'torch' is not a text of at most 10,000 characters"),
        ("environment/more", json.loads("[" * 60 + "]" * 60), "it is nested more than 40 deep"),
    ],
)
def test_what_is_refused_is_named_with_its_place(place: str, value: Any, told: str) -> None:
    with pytest.raises(DamagedRecord) as refused:
        unseal(changed(place, value))
    assert str(refused.value).startswith(f"its hash is right, but {told}")


@pytest.mark.parametrize(
    ("place", "fits", "exceeds"),
    [
        ("identity/trial/seed", 2**63 - 1, 2**63),
        ("identity/trial/budget_images", 2**53, 2**53 + 1),
        ("label", "a" * 10_000, "a" * 10_001),
        ("metrics/fid/position", 10**6, 10**6 + 1),
        ("parameters", {f"p{i}": 1 for i in range(1000)}, {f"p{i}": 1 for i in range(1001)}),
        ("values", {f"m{i}": 1.0 for i in range(1000)}, {f"m{i}": 1.0 for i in range(1001)}),
        ("metrics", dict.fromkeys([f"m{i}" for i in range(1000)], REAL["metrics"]["fid"]),
         dict.fromkeys([f"m{i}" for i in range(1001)], REAL["metrics"]["fid"])),
        ("environment/packages", {f"p{i}": "1" for i in range(1000)}, {f"p{i}": "1" for i in range(1001)}),
        ("environment/packages/torch", "1" * 10_000, "1" * 10_001),
        ("evaluations", REAL["evaluations"][:1] * 5001, REAL["evaluations"][:1] * 5002),
        ("reference/trace", 1e100, 1.1e100),
        ("reference/centres", [[0.0, 1.0]] * 100_000, [[0.0, 1.0]] * 100_001),
        ("reference/centres", [[0.0, -1e100]], [[0.0, -1.1e100]]),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 99 else "",
)  # fmt: skip
def test_bounds_of_sizes_and_numbers(place: str, fits: Any, exceeds: Any) -> None:
    unseal(changed(place, fits))
    with pytest.raises(DamagedRecord, match="its hash is right, but"):
        unseal(changed(place, exceeds))


def test_fields_of_a_later_version_are_left_out() -> None:
    record = copy.deepcopy(REAL)
    parts = [record, record["identity"], *(record["identity"][name] for name in ("trial", "evaluation"))]
    parts += [record["metrics"]["fid"], record["reference"], record["telemetry"]]
    parts += [record["evaluations"][1], record["evaluations"][1]["watch"]]
    for part in parts:
        part["of_a_later_version"] = {"x": [1.5]}
    found = as_json(unseal(resealed(record)))
    assert found["identity"]["id"] != REAL["identity"]["id"]  # it follows from all that stands there
    found["identity"] = REAL["identity"]
    assert found == {**REAL, "sha256": found["sha256"]}


@pytest.mark.parametrize("name", ["reason", "fid_train", "parameters", "adversarial", "telemetry", "state_sha256"])
def test_what_may_be_absent_reads_as_nothing(name: str) -> None:
    record = {key: value for key, value in REAL.items() if key != name}
    assert not getattr(unseal(resealed(record)), name)
