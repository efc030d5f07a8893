"""Takes the whole state of a variant for a checkpoint, and puts it back.

State is parameters, buffers (of any, also changed, shape), plain scalar attributes of the variant and
its submodules, ``memory``, ``optimizers``, and objects with a ``state_dict``. Optimizers are saved by parameter
*name*, so that swapped optimizers and groups added later come back.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ganbench.harness.serialization import is_scalar
from ganbench.harness.stateful_objects import capture_objects, restore_objects
from ganbench.plugin.variant import Variant, device_of
from ganbench.utils.errors import in_words


class StateMismatch(ValueError):
    """A state that does not fit a freshly built variant; its trial starts again from the beginning."""


def capture(variant: Variant) -> dict[str, Any]:
    """Everything that ``restore`` puts back. Tensors are the live ones: save or hash them before going on."""
    objects = capture_objects(variant)
    return {
        "parameters": dict(variant.named_parameters()),
        "buffers": _buffers(variant),
        "scalars": {
            path: {name: value for name, value in vars(module).items() if is_scalar(value)}
            for path, module in variant.named_modules()
        },
        "memory": variant.memory,
        "optimizers": {role: _capture_optimizer(o, variant) for role, o in variant.optimizers.items()},
        # Only where there are any: the hashes of states without them are as they always were.
        **({"objects": objects} if objects else {}),
    }


def restore(variant: Variant, state: dict[str, Any]) -> None:
    """Put a captured state into a freshly built variant; raises StateMismatch if it is not one of such a variant."""
    try:
        _restore(variant, state)
    except StateMismatch:
        raise
    except Exception as reason:  # parts of another type, in a file that anybody may have made
        raise StateMismatch(f"the saved state is not one of {variant.name}: {in_words(reason)}") from reason


def _restore(variant: Variant, state: dict[str, Any]) -> None:
    """Copy a saved state into a variant; raises StateMismatch where it is of another one."""
    modules = dict(variant.named_modules())
    parameters = dict(variant.named_parameters())
    if parameters.keys() != state["parameters"].keys() or modules.keys() != state["scalars"].keys():
        raise StateMismatch("the saved state has other parameters or modules")
    with torch.no_grad():
        for name, saved in state["parameters"].items():
            if parameters[name].shape != saved.shape:
                raise StateMismatch(
                    f"parameter {name} has shape {tuple(parameters[name].shape)}, saved {tuple(saved.shape)}"
                )
            parameters[name].copy_(saved)
        _restore_buffers(variant, state["buffers"])
    for path, scalars in state["scalars"].items():
        for name, value in scalars.items():
            # A scalar takes the place of a scalar, or of nothing: never of a method or a layer.
            if not is_scalar(value) or not is_scalar(getattr(modules[path], name, None)):
                raise StateMismatch(f"the saved {name} of {path or variant.name} is not a scalar there")
            setattr(modules[path], name, value)
    if not isinstance(state["memory"], dict):
        raise StateMismatch("the saved memory is no dict")
    variant.memory = state["memory"]
    for role in set(variant.optimizers) - set(state["optimizers"]):
        del variant.optimizers[role]
    for role, saved in state["optimizers"].items():
        variant.optimizers[role] = _restore_optimizer(variant.optimizers.get(role), saved, parameters)
    restore_objects(variant, state.get("objects", {}))


def _buffers(variant: Variant) -> dict[str, Tensor | None]:
    """Every buffer by name, non-persistent and None ones too."""
    return {
        f"{path}.{name}" if path else name: buffer
        for path, module in variant.named_modules()
        for name, buffer in module._buffers.items()
    }


def _restore_buffers(variant: Variant, saved: dict[str, Tensor | None]) -> None:
    current = _buffers(variant)
    if current.keys() != saved.keys():
        raise StateMismatch("the saved state has other buffers")
    for name, value in saved.items():
        now = current[name]
        if now is not None and value is not None and now.shape == value.shape and now.dtype == value.dtype:
            now.copy_(value)
            continue
        path, _, leaf = name.rpartition(".")
        device = device_of(variant)
        owner: nn.Module = variant.get_submodule(path)
        owner._buffers[leaf] = None if value is None else value.to(device)


def _capture_optimizer(optimizer: Optimizer, variant: Variant) -> dict[str, Any]:
    """An optimizer's groups and state, by the names of parameters instead of their places in a list."""
    names = {id(parameter): name for name, parameter in variant.named_parameters()}
    try:
        groups = [
            {**{k: v for k, v in group.items() if k != "params"}, "params": [names[id(p)] for p in group["params"]]}
            for group in optimizer.param_groups
        ]
        state = {names[id(parameter)]: dict(values) for parameter, values in optimizer.state.items()}
    except KeyError:
        raise TypeError(
            f"an optimizer of {variant.name} steps a tensor that is no parameter of the variant: "
            "assign its module as an attribute"
        ) from None
    found: dict[str, Any] = {"class": type(optimizer).__name__, "groups": groups, "state": state}
    if not _is_torchs(type(optimizer)):
        found["module"] = type(optimizer).__module__
        found["distribution"] = _distribution_of(found["module"])
        # Some count steps or keep averages beside their groups and states.
        more = {k: v for k, v in optimizer.state_dict().items() if k not in ("state", "param_groups")}
        found |= {"more": more} if more else {}
    return found


def _is_torchs(cls: type) -> bool:
    return getattr(torch.optim, cls.__name__, None) is cls


def _distribution_of(module: str) -> str | None:
    """The installed distribution that a module belongs to; None for one that no distribution offers."""
    return min(_owners().get(module.partition(".")[0], []), default=None)


@cache
def _owners() -> Mapping[str, list[str]]:
    return packages_distributions()


def _optimizer_class(saved: dict[str, Any]) -> type[Optimizer]:
    """The class of a saved optimizer: torch's own, or that of a module that is imported or installed.

    Nothing of the checkpoint is executed: it only names a class, whose module must be imported already, by the variant
    itself, or belong to an installed distribution of the name that was saved.
    """
    name, module, owner = saved["class"], saved.get("module"), saved.get("distribution")
    if module is None:
        found = getattr(torch.optim, name, None)
    elif module in sys.modules:
        found = getattr(sys.modules[module], name, None)
    else:
        try:
            distribution(owner or "")
        except (PackageNotFoundError, ValueError):
            raise StateMismatch(
                f"the saved optimizer {name} is of {owner or module}, which is not installed: pip install it"
            ) from None
        if owner not in _owners().get(module.partition(".")[0], []):
            raise StateMismatch(f"the saved optimizer {name} is of the module {module}, which is not one of {owner}")
        found = getattr(importlib.import_module(module), name, None)
    if not (isinstance(found, type) and issubclass(found, Optimizer)):
        raise StateMismatch(f"the saved optimizer {name} is not one of {module or 'torch.optim'}")
    return found


def _made_anew(cls: type[Optimizer], groups: list[dict[str, Any]]) -> Optimizer:
    """An optimizer with these groups; arguments without a default are those of the first group."""
    after_params = list(inspect.signature(cls.__init__).parameters.values())[2:]
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    needed = [p.name for p in after_params if p.default is p.empty and p.kind in named]
    if missing := [name for name in needed if name not in groups[0]]:
        raise StateMismatch(
            f"the optimizer {cls.__name__} cannot be made again, for its groups do not hold {', '.join(missing)}: make "
            "it in __init__ of the variant"
        )
    return cls(groups, **{name: groups[0][name] for name in needed})


def _restore_optimizer(
    fresh: Optimizer | None, saved: dict[str, Any], parameters: dict[str, nn.Parameter]
) -> Optimizer:
    """The optimizer of a saved state: the fresh one, filled, if it is of the same class, else one made anew."""
    try:
        groups = [{**group, "params": [parameters[name] for name in group["params"]]} for group in saved["groups"]]
    except KeyError as name:
        raise StateMismatch(f"the saved optimizer steps {name}, which the variant does not have") from None
    same = type(fresh).__name__ == saved["class"] and saved.get("module") in (None, type(fresh).__module__)
    if fresh is not None and same:
        optimizer = fresh
        optimizer.param_groups.clear()
        optimizer.state.clear()
        for group in groups:
            optimizer.add_param_group(group)
    else:
        optimizer = _made_anew(_optimizer_class(saved), groups)
    index = {id(p): i for i, p in enumerate(p for group in optimizer.param_groups for p in group["params"])}
    # torch's own loading moves values where each optimizer wants them; it counts parameters instead of naming them.
    described = optimizer.state_dict()["param_groups"]
    state = {index[id(parameters[name])]: _like(parameters[name], values) for name, values in saved["state"].items()}
    optimizer.load_state_dict({"state": state, "param_groups": described, **saved.get("more", {})})
    return optimizer


def _like(parameter: nn.Parameter, values: dict[str, Any]) -> dict[str, Any]:
    """Values of a parameter's shape take its memory layout too: fused kernels read both in storage order."""
    return {
        name: torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        if isinstance(value, Tensor) and value.shape == parameter.shape and value.dim() > 0
        else value
        for name, value in values.items()
    }
