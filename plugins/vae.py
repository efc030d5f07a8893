"""Variational autoencoder.

Kingma and Welling 2014, "Auto-Encoding Variational Bayes": an encoder q(z|x) = N(mu(x), diag sigma(x)^2)
and a decoder p(x|z) ascend the evidence lower bound E_q log p(x|z) - KL(q(z|x) || p(z)), p(z) = N(0, I), by
gradients through z = mu + sigma * epsilon (section 2.4), one epsilon for each x. The KL divergence has the
closed form of appendix B; p(x|z) is Gaussian (appendix C.2) with one fixed standard deviation, ``noise``.
The paper takes Adagrad, with step sizes of 0.01 to 0.1; Adam's here and ``noise`` were set by hand, and a search kept
them (results/tuning).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

from ganbench.plugin import Batch, Clock, Range, Variant, hookimpl
from ganbench.toolkit import (
    StepSize,
    Width,
    convolutional_discriminator,
    convolutional_generator,
    is_image,
    multilayer_perceptron,
    require_image,
    size_of,
    usual_width,
)


def kl_divergence(mu: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mu, diag sigma^2) || N(0, I)) in nats of each row, ``(n, d), (n, d) -> (n,)`` (appendix B)."""
    return 0.5 * (mu.square() + log_variance.exp() - 1 - log_variance).sum(1)


class VAE(Variant):
    """Variational autoencoder: an encoder gives each image a range of latents, a decoder draws it from them.

    Convolutions as in DCGAN for images, multilayer perceptrons for points.

    A sample is the decoder's mean: the noise of p(x|z) is what the model leaves unexplained, and drawn
    independently for each pixel it would be grain that no real image has.
    """

    name = "vae"
    latent_dim: int
    noise: float
    width: int | None
    lr: float

    def __init__(
        self,
        shape: torch.Size,
        latent_dim: Annotated[int, Range(1, 512, log=True), "dimension of the latent space"] = 16,
        noise: Annotated[
            float,
            Range(0.1, 2.0, log=True),
            "standard deviation of p(x|z), images being in [-1, 1]; points: a tenth of it. The squared error weighs "
            "1 / (2 noise^2) against the KL divergence: a small one reconstructs well, a large one samples well",
        ] = 0.8,
        width: Width = None,
        lr: StepSize = 3e-3,
        **hyperparameters: Any,
    ) -> None:
        if is_image(shape):
            require_image(self.name, shape)
        super().__init__(shape, latent_dim=latent_dim, noise=noise, width=width, lr=lr, **hyperparameters)
        channels = usual_width(shape, width)
        self.encoder: nn.Module
        self.decoder: nn.Module
        if is_image(shape):
            self.encoder = convolutional_discriminator(shape, channels, 2 * latent_dim, batch_norm=True)
            self.decoder = convolutional_generator(shape, latent_dim, channels)
            self.scale = noise
        else:
            # The modes of points are narrow beside their distances; pixels have a broad range and strong neighbours.
            self.scale = noise / 10
            self.encoder = multilayer_perceptron(size_of(shape), [4 * channels] * 2, 2 * latent_dim)
            self.decoder = multilayer_perceptron(latent_dim, [4 * channels] * 2, size_of(shape))
        self.optimizers["autoencoder"] = Adam(self.parameters(), lr=lr, fused=True)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """mu and log sigma^2 of q(z|x), each ``(n, latent_dim)``."""
        mu, log_variance = self.encoder(x).chunk(2, dim=1)
        return mu, log_variance

    def train_step(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        x = batch.data
        mu, log_variance = self.encode(x)
        z = mu + (0.5 * log_variance).exp() * torch.randn_like(mu)
        # -log p(x|z) up to a constant
        reconstruction = ((x - self.decoder(z)) / self.scale).square().flatten(1).sum(1).mean() / 2
        kl = kl_divergence(mu, log_variance).mean()
        self.update("autoencoder", reconstruction + kl)
        return {"reconstruction": reconstruction, "kl": kl}

    def generate(self, z: Tensor) -> Tensor:
        return self.decoder(z)


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [VAE]
