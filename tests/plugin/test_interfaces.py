"""Datasets, extractors, metrics and reporters: their fields as arguments, as class attributes, and as properties."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import torch

from ganbench.plugin import Dataset, Extractor, Metric, Reporter, Variant
from ganbench.utils.errors import UsageError


def load(split):
    return split, None


def test_arguments_by_place_and_by_name() -> None:
    one = Dataset("cloud", (2,), None, "coverage", 960, load, expected_failed_checks={"a": "b"})
    two = Dataset(name="cloud", shape=(2,), budget_images=960, load=load, notes=["small"])
    for dataset in (one, two):
        assert (dataset.name, dataset.shape, dataset.classes, dataset.budget_images) == ("cloud", (2,), None, 960)
        assert dataset.load("test") == ("test", None) and dataset.centres is None
        assert pickle.loads(pickle.dumps(dataset)).name == "cloud" and repr(dataset) == "Dataset('cloud')"
    assert (one.primary, two.primary) == ("coverage", "fid")
    assert one.expected_failed_checks == {"a": "b"} and two.expected_failed_checks == {} and two.notes == ["small"]
    assert [field.name for field in fields(Extractor)][:3] == ["name", "expected_failed_checks", "size"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dataset("cloud", (2,)), "Dataset needs budget_images, load"),
        (lambda: Dataset(lode=3), "unexpected keyword argument 'lode'"),
        (lambda: Dataset("cloud", name="cloud"), "multiple values for argument 'name'"),
        (lambda: Extractor(*"abcd"), "takes from 1 to 4 positional arguments but 5 were given"),
        (Metric, "Metric needs name, label, direction"),
        (lambda: Reporter("mine"), "Reporter needs suffix"),
    ],
)
def test_a_wrong_argument_is_named(make, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


def test_a_name_that_no_file_or_column_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match="'My metric' is not a valid name"):
        Metric("My metric", "Mine", "min")
    with pytest.raises(ValueError, match="seeds"):
        Metric("seeds", "Mine", "min")


class Spread(Metric):
    name, label, direction = "spread", "Spread", "none"
    cost = "end"


class Wide(Spread):
    def __init__(self, width: int) -> None:
        super().__init__(f"wide-{width}", constants={"width": width})


@dataclass
class Numbered(Spread):
    number: int = 3


class Computed(Extractor, torch.nn.Module):
    name, size = "computed", 3

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        super().__init__()

    @property
    def weights_hash(self) -> str:
        raise AssertionError("it reads a file")


def test_a_subclass_gives_fields_as_attributes_and_properties() -> None:
    assert (Spread().name, Spread().cost, Spread().floor, Spread.rows) == ("spread", "end", "train", (0, 0))
    assert (Wide(4).name, Wide(4).cost, Wide(4).constants, Wide(4).label) == ("wide-4", "end", {"width": 4}, "Spread")
    assert (Numbered(number=5).number, Numbered().number, Numbered().name) == (5, 3, "spread")
    assert Computed().size == 3 and not Computed().dear
    assert Spread("other").name == "other" and Spread().name == "spread"


def test_what_a_class_defines_says_what_it_can_do() -> None:
    class Family(Extractor):
        def member(self, name):
            return None

        def fit(self, dataset, splits, content):
            return []

    plain, able = Extractor("plain", 2, "0" * 64), Family("able", 2, "0" * 64)
    assert (plain.is_family, plain.learns) == (False, False) and (able.is_family, able.learns) == (True, True)
    assert plain.member("plain:x") is None and list(plain.fit(None, {}, "")) == []
    with pytest.raises(UsageError, match="extractor plain takes no weights"):
        plain.with_weights(Path("weights.pth"))


def test_a_variant_without_a_latent_space_says_so() -> None:
    with pytest.raises(NotImplementedError, match="neither latent_dim nor latent"):
        Variant(torch.Size((2,))).latent(3)
