from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import pytest

from ganbench.plugin.hyperparameters import Range, defaults, hyperparameters, label, resolve, space, takes_classes


class Base:
    name = "base"

    def __init__(self, shape, lr: Annotated[float, Range(1e-5, 1e-2, log=True), "step size"] = 2e-4, **rest):
        pass


class Derived(Base):
    name = "derived"

    def __init__(
        self,
        shape,
        classes=0,
        lr: float = 1e-3,
        loss: Literal["bce", "hinge"] = "bce",
        clip: float | None = None,
        norm: bool = True,
        depth: int = 2,
        scale: float = 1,
        **rest,
    ):
        super().__init__(shape, **rest)


if TYPE_CHECKING:
    from torch import Size


class Typed(Base):
    name = "typed"

    def __init__(
        self, shape: Size, size: Size | None = None, rate: Annotated[float, Range(0.1, 1.0), "step"] = 1, **rest
    ):
        super().__init__(shape, **rest)


class Closed(Base):
    name = "closed"

    def __init__(self, shape, width: int = 8):
        super().__init__(shape)


def test_declared_names_follow_the_mro_while_kwargs_pass_on() -> None:
    assert list(hyperparameters(Derived)) == ["lr", "loss", "clip", "norm", "depth", "scale"]
    assert hyperparameters(Derived)["lr"].default == 1e-3
    assert list(hyperparameters(Closed)) == ["width"]
    base = hyperparameters(Base)["lr"]
    assert (base.type, base.help, base.range) == (float, "step size", Range(1e-5, 1e-2, log=True))
    assert takes_classes(Derived) and not takes_classes(Base)


def test_an_annotation_for_type_checkers_alone_takes_no_other_along() -> None:
    found = hyperparameters(Typed)
    assert list(found) == ["lr", "size", "rate"]
    assert (found["rate"].type, found["rate"].range, found["rate"].help) == (float, Range(0.1, 1.0), "step")
    assert found["rate"].default == 1.0 and isinstance(found["rate"].default, float)
    assert found["size"].default is None and found["lr"].help == "step size"


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("lr", "1e-4", 1e-4),
        ("lr", "1", 1.0),
        ("loss", "hinge", "hinge"),
        ("clip", "none", None),
        ("clip", "0.1", 0.1),
        ("norm", "false", False),
        ("depth", "3", 3),
    ],
)
def test_text_is_parsed_by_the_annotation(key: str, text: str, value: object) -> None:
    found = resolve(Derived, {key: text})[key]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "why"),
    [
        ("lr", "fast", "number"),
        ("depth", "2.5", "whole number"),
        ("loss", "mse", "bce, hinge"),
        ("norm", "maybe", "true or false"),
        ("lrr", "1", "did you mean lr"),
        ("classes", "3", "no hyperparameter 'classes'"),
        ("shape", "3", "no hyperparameter"),
    ],
)
def test_refusals_say_what_was_expected(key: str, text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        resolve(Derived, {key: text})


def test_a_whole_default_of_a_float_is_the_same_setting() -> None:
    assert repr(resolve(Derived, {})["scale"]) == repr(resolve(Derived, {"scale": "1"})["scale"]) == "1.0"


def test_the_label_shows_what_differs_from_the_defaults() -> None:
    defaults = resolve(Derived, {})
    assert label("derived", defaults, defaults) == "derived"
    changed = resolve(Derived, {"lr": "1e-4", "depth": "3"})
    assert label("derived", changed, defaults) == "derived[lr=0.0001,depth=3]"
    assert label("derived", resolve(Derived, {"lr": "0.001"}), defaults) == "derived"


def test_a_search_may_choose_from_ranges_bools_and_literals() -> None:
    assert space(Base) == {"lr": {"low": 1e-5, "high": 1e-2, "log": True, "whole": False}}
    assert space(Derived) == {"loss": {"choices": ["bce", "hinge"]}, "norm": {"choices": [False, True]}}

    class Ranged(Base):
        def __init__(
            self,
            shape,
            depth: Annotated[int, Range(1, 4)] = 2,
            clip: Annotated[float | None, Range(0.1, 1)] = None,
            note: Annotated[str, Range(0, 1)] = "",
        ):
            super().__init__(shape)

    assert space(Ranged) == {
        "depth": {"low": 1, "high": 4, "log": False, "whole": True},
        "clip": {"low": 0.1, "high": 1, "log": False, "whole": False},
    }


def test_range() -> None:
    assert 1e-3 in Range(1e-5, 1e-2) and 1 not in Range(1e-5, 1e-2) and "a" not in Range(0, 1)


class Recorded:
    """Keeps what it was built with."""

    name = "recorded"

    def __init__(
        self, shape, lr: Annotated[float, Range(1e-5, 1.0, log=True), "step size"] = 1e-3, beta1: float = 0.5, **rest
    ):
        self.built = {"lr": lr, "beta1": beta1, **rest}


@defaults(lr=1)
class Changed(Recorded):
    name = "changed"


@defaults(beta1=0.9)
class ChangedAgain(Changed):
    name = "changed-again"

    def __init__(self, shape, weight: Annotated[float, Range(0.0, 1.0), "of the penalty"] = 0.1, **rest):
        super().__init__(shape, weight=weight, **rest)


@defaults(lr=0.25, weight=0.75)
class Last(ChangedAgain):
    name = "last"


@defaults(beta1=0.75)
@defaults(lr=0.25, beta1=0.25)
class Twice(Recorded):
    name = "twice"


@pytest.mark.parametrize(
    ("cls", "values"),
    [
        (Twice, {"lr": 0.25, "beta1": 0.75}),
        (Recorded, {"lr": 1e-3, "beta1": 0.5}),
        (Changed, {"lr": 1.0, "beta1": 0.5}),
        (ChangedAgain, {"lr": 1.0, "beta1": 0.9, "weight": 0.1}),
        (Last, {"lr": 0.25, "beta1": 0.9, "weight": 0.75}),
    ],
)
def test_other_defaults_are_listed_and_used_where_a_user_sets_nothing(cls: type, values: dict[str, float]) -> None:
    assert {name: h.default for name, h in hyperparameters(cls).items()} == values
    assert type(hyperparameters(cls)["lr"].default) is float
    assert cls("shape").built == values
    assert cls("shape", lr=0.5).built == values | {"lr": 0.5}
    lr = hyperparameters(cls)["lr"]
    assert (lr.type, lr.range, lr.help) == (float, Range(1e-5, 1.0, log=True), "step size")
    assert label(cls.name, resolve(cls, {"lr": "0.5"}), resolve(cls, {})) == f"{cls.name}[lr=0.5]"


def test_another_default_of_what_is_no_hyperparameter_is_refused() -> None:
    with pytest.raises(ValueError, match="changed has no hyperparameter 'rate'"):
        defaults(rate=1.0)(Changed)
