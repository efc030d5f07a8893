"""Checks of what a variant declares: its optimizers, the parameters in them, and its hyperparameters."""

from __future__ import annotations

import json
import os
import sys
import typing
from pathlib import Path

from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from ganbench.conformance.checks.variants import ROLES, STEPS, VARIANTS
from ganbench.conformance.errors import CheckFailed
from ganbench.conformance.opened_files import opened, watched
from ganbench.conformance.variant_runner import VariantRunner, during
from ganbench.discovery.imports import is_pinned
from ganbench.discovery.source_hash import covered_files
from ganbench.plugin.gan import GAN
from ganbench.plugin.hyperparameters import Hyperparameter, hyperparameters
from ganbench.utils import canonical_json
from ganbench.utils.console import first_few


@VARIANTS.check(
    """Steps of the optimizers in self.optimizers are counted, their gradients measured, their state saved. Verdicts
    read the roles generator and discriminator (critics too); what steps elsewhere is invisible and lost on resume."""
)
def optimizers_named(runner: VariantRunner) -> str:
    variant = runner.build()
    for role, optimizer in variant.optimizers.items():
        if not isinstance(role, str) or not isinstance(optimizer, Optimizer):
            raise CheckFailed(
                f"self.optimizers[{role!r}] is a {type(optimizer).__name__}: a torch optimizer by its role"
            )
    if isinstance(variant, GAN) and not variant.optimizers.keys() >= ROLES:
        raise CheckFailed(
            f"self.optimizers has {', '.join(map(repr, variant.optimizers)) or 'nothing'}: a GAN needs 'generator' and "
            "'discriminator'"
        )
    strangers: list[Optimizer] = []

    def noted(optimizer: Optimizer, *_: object) -> None:
        known = {id(p) for o in variant.optimizers.values() for group in o.param_groups for p in group["params"]}
        own = {id(p) for p in variant.parameters()}
        stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if optimizer not in variant.optimizers.values() and stepped & own - known:
            strangers.append(optimizer)

    handle = register_optimizer_step_pre_hook(noted)
    try:
        with during("train_step"):
            runner.train(variant, STEPS)
    finally:
        handle.remove()
    if strangers:
        raise CheckFailed(
            f"an optimizer ({type(strangers[0]).__name__}) steps in train_step and is not in self.optimizers: "
            "put it there"
        )
    return ", ".join(variant.optimizers) or "none"


@VARIANTS.check(
    """A parameter in no optimizer never learns, one in two is moved twice. Averaged copies and parameters that are
    written by hand have requires_grad=False."""
)
def parameters_in_one_optimizer(runner: VariantRunner) -> str:
    variant = runner.build()
    held: dict[int, list[str]] = {}
    for role, optimizer in variant.optimizers.items():
        for parameter in (p for group in optimizer.param_groups for p in group["params"]):
            held.setdefault(id(parameter), []).append(role)
    named = dict(variant.named_parameters(remove_duplicate=True))
    none = [name for name, p in named.items() if p.requires_grad and id(p) not in held]
    twice = [f"{name} ({' and '.join(held[id(p)])})" for name, p in named.items() if len(held.get(id(p), ())) > 1]
    outside = set(held) - {id(p) for p in named.values()}
    if none:
        raise CheckFailed(
            f"in no optimizer: {first_few(none)}. Give it to one, or freeze it with requires_grad_(False)"
        )
    if twice:
        raise CheckFailed(f"in two optimizers: {first_few(twice)}. Leave it to one of them")
    if outside:
        raise CheckFailed(
            f"an optimizer steps {len(outside)} tensors that are no parameters of the variant: assign their module "
            "as an attribute, so that they are saved"
        )
    return f"{sum(p.numel() for p in named.values() if p.requires_grad):,} trainable numbers"


@VARIANTS.check(
    """Records, ganbench list and ganbench tune read hyperparameters from __init__: a keyword with a default, and in
    its annotation what it means and where it makes sense: Annotated[float, Range(1e-5, 1e-2), "step size"]."""
)
def hyperparameters_documented(runner: VariantRunner) -> str:
    declared = hyperparameters(runner.cls)
    variant = runner.build()
    for h in declared.values():
        if not h.help:
            raise CheckFailed(f"{h.name} says nothing of itself: {h.name}: Annotated[{_type(h)}, ..., 'what it does']")
        _check_default(h)
        try:
            json.loads(canonical_json.dumps(h.default))
        except (TypeError, ValueError):
            raise CheckFailed(
                f"the default of {h.name} is a {type(h.default).__name__}, which no record can hold"
            ) from None
        if getattr(variant, h.name, variant) != h.default:
            raise CheckFailed(
                f"after __init__, self.{h.name} is not the value that was given: pass it on, "
                f"super().__init__(shape, {h.name}={h.name}, ...)"
            )
    return ", ".join(declared) or "none"


@VARIANTS.check(
    """Results are made anew when the code or the data of a variant change. What it imports by a name that is computed,
    and a file that it reads without saying so, change unnoticed: old scores would stand for new code."""
)
def sources_known(runner: VariantRunner) -> str:
    with watched():
        variant = runner.build()
        runner.train(variant, 1)
    own, others = covered_files(runner.cls, runner.distribution)
    seen = unknown_files(opened(), own, others)
    if seen:
        raise CheckFailed(
            f"it reads {first_few([str(path) for path in seen])}, and results would not notice a change there. Name a "
            'file of data in the class, data_files = ("file.json",), relative to its own file; import a module by a '
            "name that stands in the text"
        )
    return f"{len(own)} {'file' if len(own) == 1 else 'files'}"


def unknown_files(files: list[Path], own: set[Path], others: set[Path]) -> list[Path]:
    """Those of the files that were read which belong neither to the source hash nor to what is installed for all.

    Args:
        files: what was read.
        own: what the source hash goes over of the variant itself.
        others: what it goes over of other distributions.
    """
    covered, beside = ({Path(os.path.realpath(path)) for path in paths} for paths in (own | others, own))
    system = [Path(name) for name in ("/proc", "/sys", "/dev", "/etc", "/run", "/usr", "/lib", "/lib64")]
    system += [Path(sys.prefix), Path(sys.base_prefix)]
    homes = {path.parent for path in beside}
    return [
        path
        for path in files
        if path not in covered
        and not is_pinned(path)
        and not any(part.endswith((".dist-info", ".egg-info")) for part in path.parts)
        # Beside a plugin's own modules everything counts, also where those are installed.
        and (path.parent in homes or not _is_installed(path, system))
    ]


def _is_installed(path: Path, system: list[Path]) -> bool:
    packages = {"site-packages", "dist-packages"}  # also those of another environment that is on sys.path
    fonts = path.match("fontlist-v*.json")  # which fonts there are: matplotlib's, in the user's cache
    return fonts or not packages.isdisjoint(path.parts) or any(path.is_relative_to(folder) for folder in system)


def _check_default(h: Hyperparameter) -> None:
    choices = typing.get_args(h.type) if typing.get_origin(h.type) is typing.Literal else None
    number = not isinstance(h.default, bool) and isinstance(h.default, int | float)
    if choices is not None:
        if h.default not in choices:
            raise CheckFailed(f"the default of {h.name}, {h.default!r}, is none of its choices")
    elif h.range is not None:
        if h.default is not None and h.default not in h.range:
            raise CheckFailed(
                f"the default of {h.name}, {h.default}, is outside its Range({h.range.low}, {h.range.high})"
            )
    elif isinstance(h.default, str) or number:
        how = "Literal['a', 'b']" if isinstance(h.default, str) else "a Range(low, high)"
        raise CheckFailed(f"{h.name} has no limits: say in its annotation which values make sense, {how}")


def _type(h: Hyperparameter) -> str:
    return getattr(h.type, "__name__", str(h.type))
