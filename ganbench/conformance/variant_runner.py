"""Build, train and sample a variant under check, with the seeds, batches and settings of a trial."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganbench.conformance.errors import CheckFailed
from ganbench.harness.serialization import fingerprint, is_scalar
from ganbench.harness.stateful_objects import stateful_objects
from ganbench.plugin.hyperparameters import resolve, takes_classes
from ganbench.plugin.variant import Batch, Clock, Unsuitable, Variant
from ganbench.utils.errors import in_words, location
from ganbench.utils.pixels import from_uint8
from ganbench.utils.seeding import derive, generator, preserved_rng, seed_everything

Shape = tuple[int, ...]
IMAGES: tuple[Shape, ...] = ((1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64))  # channels first
POINTS: Shape = (2,)
CLASSES = 10
BATCH = 16
TORCHS_OWN = frozenset(vars(torch.nn.Module()))  # attributes that every module has


def shape_text(shape: Shape) -> str:
    """A shape in words: ``8x8x1`` (height, width, channels) or ``points``."""
    return "points" if len(shape) == 1 else "x".join(map(str, (*shape[1:], shape[0])))


@dataclass
class VariantRunner:
    """Builds, trains and samples one class of variant.

    Attributes:
        cls: the class; every hyperparameter has its default.
        device: where it is trained.
        distribution: that offers it; empty for a class that was given as such.
    """

    cls: type[Variant]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    distribution: str = ""

    @cached_property
    def first_shape(self) -> Shape:
        """The first shape that suits the variant; raises CheckFailed if none does."""
        reasons = []
        for shape in (IMAGES[0], POINTS, *IMAGES[1:]):
            try:
                self.build(shape)
                return shape
            except Unsuitable as reason:
                reasons.append(f"{shape_text(shape)}: {reason}")
        raise CheckFailed(f"it raises Unsuitable for every shape that was tried ({'; '.join(reasons)})")

    def build(self, shape: Shape | None = None, seed: int = 1) -> Variant:
        """A new variant on its device; the random generators are then seeded for training."""
        variant = self.construct(shape or self.first_shape, seed).to(self.device)
        seed_everything(derive(seed, "training"))
        return variant

    def construct(self, shape: Shape, seed: int) -> Variant:
        """A new variant on the CPU, its weights drawn under ``seed`` as in a trial."""
        values = resolve(self.cls, {})
        seed_everything(derive(seed, "initialisation"))
        if takes_classes(self.cls):
            values["classes"] = CLASSES
        variant = self.cls(torch.Size(shape), **values)
        if not isinstance(getattr(variant, "optimizers", None), dict) or not isinstance(
            getattr(variant, "memory", None), dict
        ):
            raise CheckFailed(
                "self.optimizers or self.memory is no dict: __init__ must call super().__init__(shape, ...)"
            )
        return variant

    def batch(self, step: int, shape: Shape, stream: str = "data", rows: int = BATCH) -> Batch:
        """Real samples: blurred random images of 8 bits, or points on a circle. Labels do not depend on ``stream``."""
        labels = torch.randint(CLASSES, (rows,), generator=generator(derive(step, "labels")))
        rng = generator(derive(step, stream))
        if len(shape) == 1:
            angle = torch.rand(rows, generator=rng) * 2 * torch.pi
            data = torch.stack([angle.cos(), angle.sin()], 1)
        else:
            coarse = torch.rand(rows, shape[0], 4, 4, generator=rng)
            grey = torch.nn.functional.interpolate(coarse, size=shape[1:], mode="bilinear")
            data = from_uint8((grey * 255).round())
        return Batch(data.to(self.device), labels.to(self.device))

    def step(self, variant: Variant, i: int, steps: int, stream: str = "data") -> dict[str, Tensor]:
        """Call ``train_step`` for step ``i`` of ``steps``; raises CheckFailed unless it returns scalars by name."""
        clock = Clock(i, i * BATCH, steps * BATCH, i / steps, i == steps - 1)
        losses = variant.train_step(self.batch(i, tuple(variant.shape), stream), clock)
        if not isinstance(losses, Mapping):
            raise CheckFailed(
                f"train_step returned {_shown(losses)}: return a mapping of names to scalar tensors, or {{}}"
            )
        for name, value in losses.items():
            if not isinstance(name, str) or not isinstance(value, Tensor) or value.numel() != 1:
                raise CheckFailed(
                    f"train_step returned {_shown(value)} as {name!r}: return scalar tensors (loss.mean(), not "
                    "loss.item()) by name"
                )
        return dict(losses)

    def train(self, variant: Variant, steps: int, start: int = 0, of: int | None = None, stream: str = "data") -> None:
        """Take the steps ``start`` to ``steps`` of a training of ``of`` steps, or of ``steps``."""
        for i in range(start, steps):
            self.step(variant, i, of or steps, stream)

    def sample(self, variant: Variant, n: int = 4, seed: int = 3) -> Tensor:
        """Samples as an evaluation draws them: eval mode, no gradients, all randomness from one generator.

        Raises CheckFailed for what is no floating point ``(n, *shape)``.
        """
        with scoring(variant):
            found = variant.sample(n, generator(seed, self.device))
            expected = (n, *variant.shape)
            if not isinstance(found, Tensor) or tuple(found.shape) != expected or not found.is_floating_point():
                raise CheckFailed(f"sample({n}) returned {_shown(found)}: return floating point {expected}")
        return found.detach().float()

    def trained(self, steps: int, seed: int = 1) -> Variant:
        """A new variant that was trained for ``steps`` steps."""
        variant = self.build(seed=seed)
        self.train(variant, steps)
        return variant


@contextlib.contextmanager
def scoring(variant: Variant, seed: int = 0) -> Iterator[None]:
    """Eval mode without gradients; flags and global random states are put back. Unlike an evaluation, it does not
    look whether the variant's state changed: that is a check of its own.
    """
    flags = [(module, module.training) for module in variant.modules()]
    variant.eval()
    try:
        with preserved_rng(seed), torch.no_grad():
            yield
    finally:
        for module, training in flags:
            module.training = training


def fingerprints(state: Mapping[str, Any]) -> dict[str, str]:
    """Hashes of the parts of a captured state, to compare it with a later one."""
    found: dict[str, str] = {}
    for part, value in state.items():
        named = value.items() if isinstance(value, dict) else [("", value)]
        found |= {f"{part} {key!r}" if key != "" else part: fingerprint(item) for key, item in named}
    return found


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same shape, type and bits: NaN is equal to itself, and -0 is not 0."""
    return fingerprint(a) == fingerprint(b)


@contextlib.contextmanager
def during(what: str) -> Iterator[None]:
    """Turn whatever the plugin raises within the block into CheckFailed, with ``what`` was being done."""
    try:
        yield
    except (CheckFailed, Unsuitable, KeyboardInterrupt):
        raise
    except BaseException as reason:
        raise CheckFailed(f"{what} raised {in_words(reason)}{location(reason)}") from reason


def differing_parts(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Which parts of two captured states differ, by name."""
    return differing_names(fingerprints(a), fingerprints(b))


def differing_names(first: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Names whose fingerprints differ, or that one side lacks."""
    return [name for name in {**first, **other} if first.get(name) != other.get(name)]


def lost_attributes(fresh: Variant, trained: Variant) -> list[str]:
    """Attributes that training changed and no checkpoint holds: they are no tensor, scalar, module or object with a
    ``state_dict``.
    """
    found = []
    saved = list(stateful_objects(trained))
    modules = dict(fresh.named_modules())
    for path, module in trained.named_modules():
        before = vars(modules[path]) if path in modules else {}
        for name, value in vars(module).items():
            if name in TORCHS_OWN or name in ("optimizers", "memory") or is_scalar(value):
                continue
            place = f"{path}.{name}" if path else name
            if any(one == place or one.startswith(f"{place}.") for one in saved):
                continue
            if name not in before or _summary(value) != _summary(before[name]):
                found.append(place)
    return found


def _summary(value: Any, depth: int = 4) -> Any:
    """Something to compare two values by, without their addresses."""
    if isinstance(value, Tensor):
        return (tuple(value.shape), value.detach().cpu().double().nan_to_num(7).flatten().tolist())
    if isinstance(value, np.ndarray):
        return (value.shape, value.tolist())
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_summary(item, depth - 1) for item in value]
    if depth and isinstance(value, dict):
        return [(str(key), _summary(item, depth - 1)) for key, item in value.items()]
    if depth and hasattr(value, "__dict__") and not isinstance(value, type | torch.nn.Module):
        return _summary(vars(value), depth - 1)
    return value if is_scalar(value) else type(value).__name__


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{value.dtype} {tuple(value.shape)}"
    return f"a {type(value).__name__}"
