"""Hyperparameters: read from the signature of a variant's ``__init__``, and parsed from the command line.

    def __init__(self, shape, lr: Annotated[float, Range(1e-5, 1e-2, log=True), "step size"] = 2e-4, **hyperparameters)

A keyword with annotation and default is a hyperparameter. While a signature ends in ``**`` the base
class's keywords are read too, along the method resolution order. ``@defaults(lr=5e-3)`` gives those of a base another
default.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, TypeVar

from ganbench.utils.names import hint

V = TypeVar("V", bound=type)

# Filled in by the harness, so never set by a user: the sample shape and the number of classes.
RESERVED = frozenset({"self", "shape", "classes"})


@dataclass(frozen=True)
class Range:
    """The sensible values of a number, both ends included; ``log`` to search them on a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class Addition:
    """Marks a hyperparameter that a variant got after results of it were published, and whose default changes nothing.

        augment: Annotated[Literal["none", "ada"], Addition(), "changes to all images that D sees"] = "none"

    At its default it is left out of a trial's identity, so that those results stand; ``ganbench tune`` leaves it alone.
    Attributes of a variant are state: keep the default on the class, and set it on the instance only where it differs.
    """


@dataclass(frozen=True)
class Hyperparameter:
    """One keyword of a variant: its type, its default, and what its author says of it.

    Attributes:
        is_addition: whether it is marked as an `Addition`.
    """

    name: str
    type: Any
    default: Any
    range: Range | None = None
    help: str = ""
    is_addition: bool = False

    def parse(self, text: str) -> Any:
        """Turn a user's text into a value of this type; raises ValueError with what was expected."""
        return _parse(text.strip(), self.type, self.name)


def hyperparameters(cls: type) -> dict[str, Hyperparameter]:
    """The hyperparameters of a variant class, the base classes' first."""
    found: list[tuple[dict[str, Hyperparameter], dict[str, Any]]] = []
    for owner in cls.__mro__:
        init = owner.__dict__.get("__init__")
        if init is None:
            continue
        parameters = inspect.signature(init).parameters.values()
        hints = _hints(init)
        declared = {
            p.name: _declare(p, hints.get(p.name, p.annotation))
            for p in parameters
            if p.name not in RESERVED
            and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
            and p.default is not p.empty
        }
        found.append((declared, getattr(init, "defaults", {})))
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    merged: dict[str, Hyperparameter] = {}
    for declared, changed in reversed(found):
        merged |= declared
        merged |= {name: replace(merged[name], default=value) for name, value in changed.items()}
    return merged


def defaults(**values: Any) -> Callable[[V], V]:
    """Give a variant other defaults for hyperparameters that its base classes declare.

        @defaults(lr=5e-3, beta1=0.75)
        class MyGAN(GAN): ...

    Types, limits and help stay those of the base. A user's values win, and subclasses start from these.

    Raises:
        ValueError: a name that is no hyperparameter of the class.
    """

    def change(cls: V) -> V:
        known = hyperparameters(cls)
        refuse_unknown(getattr(cls, "name", cls.__name__), values, known)
        changed = {name: _as(known[name].type, value) for name, value in values.items()}
        init = cls.__init__  # type: ignore[misc]

        def with_defaults(self: Any, *args: Any, **given: Any) -> None:
            init(self, *args, **changed | given)

        if "__init__" in vars(cls):  # else its keywords are a base's, which declares them itself
            functools.update_wrapper(with_defaults, init)
        with_defaults.defaults = getattr(init, "defaults", {}) | changed  # type: ignore[attr-defined]
        cls.__init__ = with_defaults  # type: ignore[misc]
        return cls

    return change


def takes_classes(cls: type) -> bool:
    """Whether ``__init__`` has a keyword ``classes``, which the harness fills with the dataset's number."""
    for owner in cls.__mro__:
        init = owner.__dict__.get("__init__")
        if init is None:
            continue
        parameters = inspect.signature(init).parameters
        if "classes" in parameters:
            return True
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return False
    return False


def resolve(cls: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every hyperparameter: what is given, else its default; raises ValueError for an unknown name.

    A text is parsed by the parameter's annotation; any other value is taken as it is.
    """
    known = hyperparameters(cls)
    refuse_unknown(getattr(cls, "name", cls.__name__), given, known)
    for h in known.values():
        if isinstance(h.default, float) and not math.isfinite(h.default):
            raise ValueError(f"the default of {h.name} is {h.default}, which no record can hold: let None mean it")
    return {
        name: (h.parse(given[name]) if isinstance(given[name], str) else given[name]) if name in given else h.default
        for name, h in known.items()
    }


def identifying(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that a trial's identity holds: all but additions at their default."""
    known = hyperparameters(cls)
    return {k: v for k, v in values.items() if not (known[k].is_addition and v == known[k].default)}


def refuse_unknown(variant: str, given: Mapping[str, Any], known: Mapping[str, Hyperparameter]) -> None:
    """Raise ValueError for a name that is no hyperparameter of a variant, naming the nearest ones, or all."""
    for name in given:
        if name not in known:
            raise ValueError(f"{variant} has no hyperparameter {name!r}; {hint(name, known)}")


def label(name: str, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """A variant's name with the values that differ from its defaults: ``dcgan[lr=0.0001]``."""
    changed = [f"{key}={value}" for key, value in values.items() if value != defaults[key]]
    return f"{name}[{','.join(changed)}]" if changed else name


def space(cls: type) -> dict[str, dict[str, Any]]:
    """The search space of a variant as JSON: ``choices``, or ``low, high, log, whole``, of each hyperparameter.

    These are the numbers with a ``Range``, and every bool and ``Literal``; the others, and additions, keep their
    defaults.
    """
    return {h.name: about for h in hyperparameters(cls).values() if (about := _searchable(h)) is not None}


def _searchable(h: Hyperparameter) -> dict[str, Any] | None:
    if h.is_addition:
        return None
    origin = typing.get_origin(h.type)
    if origin is typing.Literal:
        return {"choices": list(typing.get_args(h.type))}
    if h.type is bool:
        return {"choices": [False, True]}
    kinds = typing.get_args(h.type) if origin in (typing.Union, UnionType) else (h.type,)
    if h.range is None or not {int, float} & set(kinds):
        return None
    return {"low": h.range.low, "high": h.range.high, "log": h.range.log, "whole": float not in kinds}


def _hints(function: Any) -> dict[str, Any]:
    """The annotations that can be resolved: each by itself, as one may name what only a type checker imports."""
    names = getattr(inspect.unwrap(function), "__globals__", {})
    found: dict[str, Any] = {}
    for name, annotation in getattr(function, "__annotations__", {}).items():
        one = SimpleNamespace(__annotations__={name: annotation})
        with contextlib.suppress(Exception):
            found |= typing.get_type_hints(one, globalns=names, include_extras=True)
    return found


def _declare(parameter: inspect.Parameter, annotation: Any) -> Hyperparameter:
    limits, text, is_addition = None, "", False
    kind = annotation
    if typing.get_origin(annotation) is typing.Annotated:
        kind, *notes = typing.get_args(annotation)
        limits = next((note for note in notes if isinstance(note, Range)), None)
        text = next((note for note in notes if isinstance(note, str)), "")
        is_addition = any(isinstance(note, Addition) for note in notes)
    if kind is inspect.Parameter.empty or isinstance(kind, str):
        kind = type(parameter.default)
    return Hyperparameter(parameter.name, kind, _as(kind, parameter.default), limits, text, is_addition)


def _as(kind: Any, default: Any) -> Any:
    """A default of this type: 1 of a float is 1.0, so that both are one setting with one identity."""
    return float(default) if kind is float and type(default) is int else default


def _parse(text: str, kind: Any, name: str) -> Any:
    """The value that a text after ``--set`` stands for, given the type that the author annotated; raises ValueError."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, UnionType):
        return _parse_union(text, typing.get_args(kind), name)
    if origin is typing.Literal:
        for choice in typing.get_args(kind):
            if text == str(choice):
                return choice
        raise ValueError(f"{name}={text}: expected one of {', '.join(map(str, typing.get_args(kind)))}")
    if kind is bool:
        values = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() in values:
            return values[text.lower()]
        raise ValueError(f"{name}={text}: expected true or false")
    if kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"{name}={text}: expected a {'whole' if kind is int else 'finite'} number")
        return number
    if kind is str:
        return text
    raise ValueError(f"{name}={text}: a value of type {getattr(kind, '__name__', kind)} cannot be given as text")


def _parse_union(text: str, kinds: tuple[Any, ...], name: str) -> Any:
    if NoneType in kinds and text.lower() == "none":
        return None
    reasons = []
    for kind in (k for k in kinds if k is not NoneType):
        try:
            return _parse(text, kind, name)
        except ValueError as reason:
            reasons.append(str(reason))
    raise ValueError("; ".join(reasons))
