"""Canonical, sealed and typed JSON."""

from __future__ import annotations

import math
from typing import Any

import pytest
from msgspec import Struct

from ganbench.utils import canonical_json
from ganbench.utils.sealed_json import Damaged, seal, unseal
from ganbench.utils.typed_json import DEPTH, Whole, convert


def test_canonical_json_is_one_text_for_one_value() -> None:
    assert canonical_json.dumps({"b": 1.0, "a": [None, "é"]}) == '{"a":[null,"é"],"b":1.0}'
    with pytest.raises(ValueError):
        canonical_json.dumps(math.nan)


def test_a_sealed_object_is_read_back_and_every_edit_is_noticed() -> None:
    text = seal({"b": 1.0, "a": "é", "z": []})
    assert text == seal({"z": [], "a": "é", "b": 1.0, "sha256": "of an earlier text"}) and text.endswith("}\n")
    found = unseal(text.encode())
    assert {**found, "sha256": ""} == {"a": "é", "b": 1.0, "z": [], "sha256": ""} and len(found["sha256"]) == 64
    for edited in (text.replace("1.0", "1.5"), text + " ", text[:-1], text.replace('"z":[]', '"z":[0]'), "{}\n", "[]"):
        with pytest.raises(Damaged):
            unseal(edited.encode())


class Part(Struct):
    counts: dict[str, dict[str, Whole]]
    rest: Any = None


def test_a_refusal_names_the_place_and_the_key() -> None:
    value = {"counts": {"a": {"x": 1}, "b": {"x": 1, "y\x1b": -1}}}
    with pytest.raises(ValueError, match=r"^counts\.b\.y\\x1b: Expected `int` >= 0$"):
        convert(value, Part)
    assert list(value["counts"]) == ["a", "b"], "what was looked through is as it was"
    with pytest.raises(ValueError, match=r"^counts: Expected `object`, got `array`$"):
        convert({"counts": []}, Part)


def test_depth_has_a_limit() -> None:
    def nested(depth: int) -> Any:
        return [nested(depth - 1)] if depth else 1

    assert convert({"counts": {}, "rest": nested(DEPTH - 1)}, Part).rest == nested(DEPTH - 1)
    with pytest.raises(ValueError, match="nested more than"):
        convert({"counts": {}, "rest": nested(DEPTH)}, Part)
