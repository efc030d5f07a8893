"""The class Variant: the interface of every generative model that ganbench trains.

The variant owns the update; the harness owns everything else: seeds, data order, batch size, budget,
device, precision, evaluation, checkpoints and records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer


class Batch(NamedTuple):
    """A batch of samples, real or fake, on the variant's device.

    Attributes:
        data: ``(n, *shape)``: images float32 NCHW in [-1, 1], or points ``(n, d)``.
        labels: int64 ``(n,)``, or None.
    """

    data: Tensor
    labels: Tensor | None = None


@dataclass(frozen=True)
class Clock:
    """How far the training is, counted before this call of ``train_step``.

    Attributes:
        step: calls of ``train_step`` so far; 0 at the first.
        images_seen: real samples handed over so far.
        budget_images: real samples that the trial will see in all (the last batch may overshoot).
        fraction: ``images_seen / budget_images``, in [0, 1).
        last: whether this is the last call.
    """

    step: int
    images_seen: int
    budget_images: int
    fraction: float
    last: bool


class Unsuitable(ValueError):
    """Raised by ``__init__``: this variant does not apply to this dataset. The message says why."""


class Variant(nn.Module):
    """A generative model: it learns from batches and draws samples. A plugin offers subclasses of it.

    What must survive a resume lives in parameters, buffers, ``optimizers``, plain scalar attributes
    (bool, int, float, str, None), ``memory``, or objects with ``state_dict`` and ``load_state_dict`` such as step-size
    schedules; anything else is lost.

    Attributes:
        name: what ``--plugins`` calls it.
        role: ``"variant"``, ``"baseline"`` (shown, not ranked) or ``"planted"`` (a failure on purpose).
        family: the distributions that it fits, such as ``gaussian mixture``: tables mark it on a dataset that was drawn
            from that family (``Dataset.family``), where it has an advantage over every other model.
        expected_failed_checks: reasons by the names of conformance checks that it is known to fail.
        data_files: files beside its module that decide what it is, such as weights that it begins with; what stands in
            them is part of the source hash, as the code is. A folder stands for all files in it.
        decision_threshold: the value above which ``score_real`` says "real"; None for a critic.
        shape: of one sample, ``(channels, height, width)``, or ``(d,)`` for points and rows of a table.
        latent_dim: numbers in ``z`` between which one may interpolate; 0 where ``latent`` is overridden without it.
        optimizers: by role; their steps are counted, measured and saved. Verdicts read the roles
            ``generator`` and ``discriminator``.
        memory: state that is no parameter, buffer or scalar: tensors, scalars, lists, tuples, dicts.
        generate: ``generate(z) -> (n, *shape)``, in eval mode a pure function of ``z``; None without
            a latent space, and then ``sample`` is overridden.
        code_paths: ``code_paths(n, rng) -> z``: rows of ``n`` latents, along each of which one part of a code changes,
            as a picture of a finished trial; None without such a code.
        score_real: ``score_real(x) -> (n,)``, larger = more real; None without a discriminator.
        discriminator_features: ``discriminator_features(x) -> (n, d)``, or None.
    """

    name: ClassVar[str]
    expected_failed_checks: ClassVar[Mapping[str, str]] = {}
    data_files: ClassVar[tuple[str, ...]] = ()
    family: ClassVar[str | None] = None
    role: ClassVar[Literal["variant", "baseline", "planted"]] = "variant"
    decision_threshold: float | None = None
    shape: torch.Size
    latent_dim: int = 0
    optimizers: dict[str, Optimizer]
    memory: dict[str, Any]
    generate: Any = None
    code_paths: Any = None
    score_real: Any = None
    discriminator_features: Any = None

    def __init__(self, shape: torch.Size, **hyperparameters: Any) -> None:
        super().__init__()
        self.shape = torch.Size(shape)
        for name, value in hyperparameters.items():
            setattr(self, name, value)
        self.optimizers = {}
        self.memory = {}

    def train_step(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        """Learn from one batch of real data; return scalar losses by name, or ``{}``.

        Draw randomness from the global generators (torch, numpy, random): the harness seeds and saves them.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define train_step(batch, clock)")

    def update(self, role: str, loss: Tensor) -> None:
        """Take one step of ``optimizers[role]`` on ``loss``; only the parameters of that optimizer get gradients."""
        optimizer = self.optimizers[role]
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if type(optimizer).zero_grad is Optimizer.zero_grad:
            for parameter in parameters:  # the same, 45 microseconds sooner (torch 2.14)
                parameter.grad = None
        else:
            optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=parameters)
        optimizer.step()

    def latent(self, n: int, rng: Generator | None = None) -> Tensor:
        """Draw ``n`` standard normal vectors ``(n, latent_dim)``; ``rng`` None is the global generator."""
        if not self.latent_dim:
            raise NotImplementedError(f"{type(self).__name__} defines neither latent_dim nor latent(n, rng)")
        return torch.randn(n, self.latent_dim, generator=rng, device=rng.device if rng else device_of(self))

    def sample(self, n: int, rng: Generator | None = None) -> Tensor:
        """Draw ``n`` samples ``(n, *shape)``: what is scored. All randomness comes from ``rng``."""
        if self.generate is None:
            raise NotImplementedError(f"{type(self).__name__} defines neither generate(z) nor sample(n, rng)")
        return self.generate(self.latent(n, rng))


def device_of(variant: Variant) -> torch.device:
    """The device of a variant's parameters, or of its buffers; the CPU if it has neither."""
    for kind in ("_parameters", "_buffers"):
        state = _first(variant, kind)
        if state is not None:
            return state.device
    return torch.device("cpu")


def _first(module: nn.Module, kind: str) -> Tensor | None:
    """The first parameter or buffer. Every training step asks twice, and this costs a fifth of ``parameters()``."""
    for value in getattr(module, kind).values():
        if value is not None:
            return cast(Tensor, value)
    for child in module._modules.values():
        if child is not None and (found := _first(child, kind)) is not None:
            return found
    return None
