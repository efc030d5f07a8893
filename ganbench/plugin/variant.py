"""Variants: generative models that train under the harness, and GAN, the two-phase game ready to subclass.

The variant owns the update; the harness owns everything else: seeds, data order, batch size, budget,
device, precision, evaluation, checkpoints and records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from ganbench.plugin.hyperparameters import Range
from ganbench.plugin.interfaces import NotApplicable


class Batch(NamedTuple):
    """Samples, real or fake, on the variant's device.

    Attributes:
        data: ``(n, *shape)``: images float32 NCHW in [-1, 1], or points ``(n, 2)``.
        labels: int64 ``(n,)``, or None.
    """

    data: Tensor
    labels: Tensor | None = None


@dataclass(frozen=True)
class Clock:
    """Where training stands: everything counts what came before this call.

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
    """Anything that learns to generate. A plugin offers subclasses of it.

    What must survive a resume lives in parameters, buffers, ``optimizers``, plain scalar attributes
    (bool, int, float, str, None) or ``memory``; anything else is lost.

    Attributes:
        name: what ``--plugins`` calls it.
        role: ``"variant"``, ``"baseline"`` (shown, not ranked) or ``"planted"`` (a failure on purpose).
        decision_threshold: the value above which ``score_real`` says "real"; None for a critic.
        shape: of one sample, ``(channels, height, width)`` or ``(2,)``.
        optimizers: by role; their steps are counted, measured and saved. Verdicts read the roles
            ``generator`` and ``discriminator``.
        memory: state that is no parameter, buffer or scalar: tensors, scalars, lists, tuples, dicts.
        generate: ``generate(z) -> (n, *shape)``, in eval mode a pure function of ``z``; None without
            a latent space, and then ``sample`` is overridden.
        score_real: ``score_real(x) -> (n,)``, larger = more real; None without a discriminator.
        discriminator_features: ``discriminator_features(x) -> (n, d)``, or None.
    """

    name: ClassVar[str]
    role: ClassVar[Literal["variant", "baseline", "planted"]] = "variant"
    decision_threshold: float | None = None
    shape: torch.Size
    latent_dim: int
    optimizers: dict[str, Optimizer]
    memory: dict[str, Any]
    generate: Any = None
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
        """One step of ``optimizers[role]`` down the gradient of ``loss`` with respect to its own parameters only."""
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
        return torch.randn(n, self.latent_dim, generator=rng, device=rng.device if rng else device_of(self))

    def sample(self, n: int, rng: Generator | None = None) -> Tensor:
        """Draw ``n`` samples ``(n, *shape)``: what is scored. All randomness comes from ``rng``."""
        if self.generate is None:
            raise NotImplementedError(f"{type(self).__name__} defines neither generate(z) nor sample(n, rng)")
        return self.generate(self.latent(n, rng))


def device_of(variant: Variant) -> torch.device:
    """Where a variant's parameters are, or its buffers; the CPU if it has neither."""
    for kind in ("_parameters", "_buffers"):
        state = _first(variant, kind)
        if state is not None:
            return state.device
    return torch.device("cpu")


def _first(module: nn.Module, kind: str) -> Tensor | None:
    """What ``next(module.parameters())`` would give, at a fifth of its cost: every step of a training asks twice."""
    for value in getattr(module, kind).values():
        if value is not None:
            return cast(Tensor, value)
    for child in module._modules.values():
        if child is not None and (found := _first(child, kind)) is not None:
            return found
    return None


class GAN(Variant):
    """The two-phase game of Goodfellow et al. 2014 (Algorithm 1): one small override is usually the whole plugin.

    Phase 1 updates the discriminator with the generator held constant, at every call; phase 2 updates
    the generator with the discriminator held constant and the labels flipped, at every
    ``critic_steps``-th call. Both use binary cross-entropy on logits unless a loss is overridden.

    The fakes, the judge, the losses and the phases change nothing but buffers, and call no
    ``.backward``, ``.item`` or optimizer; inner gradients go through ``torch.func.grad``.
    """

    decision_threshold: float | None = 0.0  # a logit of 0 is a probability of 1/2
    lr: float
    beta1: float
    critic_steps: int

    def __init__(
        self,
        shape: torch.Size,
        latent_dim: Annotated[int, Range(2, 512, log=True), "dimension of the latent space"] = 64,
        lr: Annotated[float, Range(1e-5, 1e-2, log=True), "Adam step size"] = 2e-4,
        beta1: Annotated[float, Range(0.0, 0.95), "Adam decay of the mean gradient"] = 0.5,
        critic_steps: Annotated[int, Range(1, 10), "discriminator updates for one of the generator"] = 1,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, latent_dim=latent_dim, lr=lr, beta1=beta1, critic_steps=critic_steps, **hyperparameters)
        self.generator = self.build_generator()
        self.discriminator = self.build_discriminator()
        for role in ("generator", "discriminator"):
            self.optimizers[role] = self.build_optimizer(getattr(self, role))

    def build_generator(self) -> nn.Module:
        """The network from ``z`` to samples."""
        raise NotImplementedError(f"{type(self).__name__} does not define build_generator()")

    def build_discriminator(self) -> nn.Module:
        """The network from samples to logits ``(n,)``, larger = more real."""
        raise NotImplementedError(f"{type(self).__name__} does not define build_discriminator()")

    def build_optimizer(self, network: nn.Module) -> Optimizer:
        """The optimizer of one network. Fused: the same rule in one kernel, faster on CPU and GPU."""
        parameters = [p for p in network.parameters() if p.requires_grad]
        return Adam(parameters, lr=self.lr, betas=(self.beta1, 0.999), fused=True)

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Real is 1, fake is 0: ``-E log D(x) - E log(1 - D(G(z)))``."""
        return (functional.softplus(-real_logits) + functional.softplus(fake_logits)).mean()

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        """The labels flipped (non-saturating): ``-E log D(G(z))``."""
        return functional.softplus(-fake_logits).mean()

    def fake(self, z: Tensor) -> Batch:
        """What the generator makes of ``z``."""
        return Batch(self.generator(z))

    def judge(self, batch: Batch) -> Tensor:
        """The discriminator's logits ``(n,)``."""
        return self.discriminator(batch.data).flatten()

    def discriminator_phase(self, real: Batch, fake: Batch) -> Tensor:
        """Phase 1's loss; the generator is constant. Penalties are added here."""
        return self.discriminator_loss(self.judge(real), self.judge(fake))

    def generator_phase(self, real: Batch, fake: Batch) -> Tensor:
        """Phase 2's loss; the discriminator is constant."""
        return self.generator_loss(self.judge(fake))

    def settle(self, clock: Clock) -> None:
        """After the updates, without gradients: clip weights, move averages. Nothing by default."""

    def train_step(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        n = len(batch.data)
        with torch.no_grad():
            fake = self.fake(self.latent(n))
        losses = {"discriminator": self.discriminator_phase(batch, fake)}
        self.update("discriminator", losses["discriminator"])
        if (clock.step + 1) % self.critic_steps == 0:
            losses["generator"] = self.generator_phase(batch, self.fake(self.latent(n)))
            self.update("generator", losses["generator"])
        with torch.no_grad():
            self.settle(clock)
        return losses

    def generate(self, z: Tensor) -> Tensor:
        return self.fake(z).data

    def score_real(self, x: Tensor) -> Tensor:
        return self.judge(Batch(x))

    def discriminator_features(self, x: Tensor) -> Tensor:
        """What the discriminator's last linear layer is given for ``x``, ``(n, d)``.

        Raises NotApplicable for a discriminator without a linear layer.
        """
        layers = [m for m in self.discriminator.modules() if _is_linear(m)]
        if not layers:
            raise NotApplicable(f"the discriminator of {self.name} has no linear layer")
        given: list[Tensor] = []
        hook = layers[-1].register_forward_pre_hook(lambda module, inputs: given.append(inputs[0].flatten(1)))
        try:
            self.judge(Batch(x))
        finally:
            hook.remove()
        return given[-1]


def _is_linear(layer: nn.Module) -> bool:
    own = dict(layer.named_parameters(recurse=False)).get("weight")
    return isinstance(layer, nn.Linear) or (own is not None and own.dim() == 2)
