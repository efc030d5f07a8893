"""The class GAN: alternating training of a generator and a discriminator, ready to subclass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from ganbench.plugin.hyperparameters import Range
from ganbench.plugin.interfaces import NotApplicable
from ganbench.plugin.variant import Batch, Clock, Variant


class GAN(Variant):
    """A generator and a discriminator trained in turn, as in Goodfellow et al. 2014, Algorithm 1.

    Usually a plugin overrides the networks and one loss, and nothing else.

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
        """Build the generator: a network from latent vectors ``z`` to samples."""
        raise NotImplementedError(f"{type(self).__name__} does not define build_generator()")

    def build_discriminator(self) -> nn.Module:
        """Build the discriminator: a network from samples to logits ``(n,)``, larger for more real."""
        raise NotImplementedError(f"{type(self).__name__} does not define build_discriminator()")

    def build_optimizer(self, network: nn.Module) -> Optimizer:
        """Build the optimizer of one network: Adam by default, fused, which is the same rule in one faster kernel."""
        parameters = [p for p in network.parameters() if p.requires_grad]
        return Adam(parameters, lr=self.lr, betas=(self.beta1, 0.999), fused=True)

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Cross-entropy with real as 1 and fake as 0: ``-E log D(x) - E log(1 - D(G(z)))``."""
        return (functional.softplus(-real_logits) + functional.softplus(fake_logits)).mean()

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        """Cross-entropy with fakes labelled as real, the non-saturating loss: ``-E log D(G(z))``."""
        return functional.softplus(-fake_logits).mean()

    def fake(self, z: Tensor) -> Batch:
        """Generate samples from ``z``, with labels if the variant has any."""
        return Batch(self.generator(z))

    def judge(self, batch: Batch) -> Tensor:
        """The discriminator's logits ``(n,)`` for a batch, real or fake."""
        return self.discriminator(batch.data).flatten()

    def discriminator_phase(self, real: Batch, fake: Batch) -> Tensor:
        """The loss of the discriminator's update, in which the generator is constant. Add penalties here."""
        return self.discriminator_loss(self.judge(real), self.judge(fake))

    def generator_phase(self, real: Batch, fake: Batch) -> Tensor:
        """The loss of the generator's update, in which the discriminator is constant."""
        return self.generator_loss(self.judge(fake))

    def settle(self, clock: Clock) -> None:
        """Called after the updates, without gradients: to clip weights or move averages. By default it does nothing."""

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
        """Features of ``x``, ``(n, d)``: the input of the last of the discriminator's linear layers that runs.

        Raises NotApplicable for a discriminator without a linear layer.
        """
        given: Tensor | None = None

        def keep(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            nonlocal given
            given = inputs[0].flatten(1)

        hooks = [m.register_forward_pre_hook(keep) for m in self.discriminator.modules() if _is_linear(m)]
        try:
            self.judge(Batch(x))
        finally:
            for hook in hooks:
                hook.remove()
        if given is None:
            raise NotApplicable(f"the discriminator of {self.name} has no linear layer")
        return given


def _is_linear(layer: nn.Module) -> bool:
    own = dict(layer.named_parameters(recurse=False)).get("weight")
    return isinstance(layer, nn.Linear) or (own is not None and own.dim() == 2 and not isinstance(layer, nn.Embedding))
