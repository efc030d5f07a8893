"""Two GANs of torchgan as they are: its networks with its losses, and with its own training steps."""

from math import ceil, log2
from typing import Annotated

import torch
from torch import nn
from torch.optim import RMSprop
from torchgan import losses
from torchgan.models import DCGANDiscriminator, DCGANGenerator

from ganbench.plugin import GAN, Range, Unsuitable, hookimpl


class TorchGANLSGAN(GAN):
    """torchgan's DCGAN with its least-squares losses; images of 16, 32, ... pixels are resized."""

    name = "torchgan-lsgan"
    decision_threshold = 0.5

    def __init__(self, shape, step_channels: Annotated[int, Range(4, 128), "channels beside an image"] = 16, **others):
        if len(shape) != 3 or shape[1] != shape[2]:
            raise Unsuitable(f"{self.name} makes square images, not samples of shape {tuple(shape)}")
        super().__init__(shape, step_channels=step_channels, **others)
        self.on_real_and_fake = losses.LeastSquaresDiscriminatorLoss()
        self.on_fake = losses.LeastSquaresGeneratorLoss()

    def build_generator(self):
        side = max(16, 2 ** ceil(log2(self.shape[1])))
        network = DCGANGenerator(self.latent_dim, side, self.shape[0], self.step_channels)
        return nn.Sequential(network, nn.Upsample(self.shape[1], mode="bilinear"))

    def build_discriminator(self):
        side = max(16, 2 ** ceil(log2(self.shape[1])))
        network = DCGANDiscriminator(side, self.shape[0], self.step_channels)
        return nn.Sequential(nn.Upsample(side, mode="bilinear"), network)

    def discriminator_loss(self, real_logits, fake_logits):
        return self.on_real_and_fake(real_logits, fake_logits)

    def generator_loss(self, fake_logits):
        return self.on_fake(fake_logits)


class TorchGANWGAN(GAN):
    """torchgan's DCGAN, trained by torchgan's own steps of the Wasserstein GAN with a clipped critic."""

    name = "torchgan-wgan"
    decision_threshold = None
    expected_failed_checks = {"devices": "torchgan's steps return loss.item(), for which a GPU is waited for"}

    def __init__(self, shape, lr: Annotated[float, Range(1e-5, 1e-2, log=True), "RMSprop step size"] = 5e-4, **others):
        if len(shape) != 3 or shape[1] != shape[2] or shape[1] < 16 or shape[1] & (shape[1] - 1):
            raise Unsuitable(f"{self.name} makes squares of 16, 32, 64, ... pixels, not {tuple(shape)}")
        super().__init__(shape, lr=lr, **others)
        self.critic_ops = losses.WassersteinDiscriminatorLoss(clip=(-0.01, 0.01)).train_ops
        self.generator_ops = losses.WassersteinGeneratorLoss().train_ops

    def build_generator(self):
        return DCGANGenerator(self.latent_dim, self.shape[1], self.shape[0], step_channels=16)

    def build_discriminator(self):
        return DCGANDiscriminator(self.shape[1], self.shape[0], step_channels=16, last_nonlinearity=nn.Identity())

    def build_optimizer(self, network):
        return RMSprop(network.parameters(), lr=self.lr)

    def train_step(self, batch, clock):
        networks, device = (self.generator, self.discriminator), batch.data.device
        found = {"discriminator": self.critic_ops(*networks, self.optimizers["discriminator"], batch.data, device)}
        if (clock.step + 1) % self.critic_steps == 0:
            found["generator"] = self.generator_ops(*networks, self.optimizers["generator"], device, len(batch.data))
        return {role: torch.tensor(loss) for role, loss in found.items()}


@hookimpl
def ganbench_variants():
    return [TorchGANLSGAN, TorchGANWGAN]
