"""The state of what hangs on a variant and is no module: step-size schedules, gradient scalers, other optimizers.

These objects have ``state_dict`` and ``load_state_dict``, as torch's schedulers, ``GradScaler`` and most of what
Lightning and accelerate users hold. They are found as attributes of the variant or of a module in it, also in a list,
tuple or dict there, and saved by that place.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from torch import nn

from ganbench.harness.serialization import is_scalar
from ganbench.plugin.variant import Variant


def stateful_objects(variant: Variant) -> dict[str, Any]:
    """The objects with a state by their places: ``scheduler``, ``schedulers.0``, ``generator.scaler``.

    Optimizers in ``variant.optimizers`` and modules are none of them: they are saved by the names of parameters.
    """
    known = {id(optimizer) for optimizer in variant.optimizers.values()}
    found: dict[str, Any] = {}
    for path, module in variant.named_modules():
        for name, value in vars(module).items():
            if is_scalar(value) or name in _TORCHS_OWN or (module is variant and name in ("optimizers", "memory")):
                continue
            for place, one in _held(f"{path}.{name}" if path else name, value):
                if _has_state(one) and id(one) not in known:
                    found[place] = one
    return found


# What every module has: its parameters, buffers, modules and hooks.
_TORCHS_OWN = frozenset(vars(nn.Module()))


def _held(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A value, or what a list, tuple or dict holds, with their places."""
    if isinstance(value, list | tuple):
        yield from ((f"{place}.{i}", one) for i, one in enumerate(value))
    elif isinstance(value, dict):
        yield from ((f"{place}.{key}", one) for key, one in value.items())
    else:
        yield place, value


def _has_state(value: Any) -> bool:
    methods = (getattr(value, name, None) for name in ("state_dict", "load_state_dict"))
    return not isinstance(value, type | nn.Module) and all(callable(method) for method in methods)


def capture_objects(variant: Variant) -> dict[str, dict[str, Any]]:
    """The class and the state of each object, by its place."""
    return {
        place: {"class": type(one).__name__, "state": one.state_dict()}
        for place, one in stateful_objects(variant).items()
    }


def restore_objects(variant: Variant, saved: dict[str, Any]) -> None:
    """Give the objects of a freshly built variant their saved state; raises ValueError where they are others."""
    current = stateful_objects(variant)
    for place in [*saved, *current]:
        made, wanted = (type(current[place]).__name__ if place in current else None), saved.get(place, {}).get("class")
        if made != wanted:
            raise ValueError(
                f"{place} is {made or 'not there'} in a freshly built variant, and was {wanted or 'not there'} when "
                "it was saved: make it in __init__"
            )
    for place, one in current.items():
        one.load_state_dict(_like(one.state_dict(), saved[place]["state"]))


def _like(fresh: Any, saved: Any) -> Any:
    """Saved dicts as the kind of dict that the object has there: ``MultiStepLR`` counts its milestones in a Counter."""
    if not isinstance(saved, dict) or not isinstance(fresh, dict):
        return saved
    found = copy.copy(fresh)
    found.clear()
    found.update({key: _like(fresh.get(key), value) for key, value in saved.items()})
    return found
