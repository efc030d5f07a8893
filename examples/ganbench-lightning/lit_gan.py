"""A GAN as one writes it for PyTorch Lightning: it owns its optimizers, its schedules and its training step."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.functional import softplus


class LitGAN(pl.LightningModule):
    def __init__(self, shape, latent_dim=16, width=128, lr=1e-3, steps=1000):
        super().__init__()
        self.automatic_optimization = False
        self.shape, self.latent_dim, self.lr, self.steps = tuple(shape), latent_dim, lr, steps
        size = torch.Size(shape).numel()
        self.generator = nn.Sequential(
            nn.Linear(latent_dim, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, size)
        )
        self.discriminator = nn.Sequential(
            nn.Flatten(), nn.Linear(size, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2),
            nn.Linear(width, 1),
        )  # fmt: skip

    def forward(self, z):
        x = self.generator(z).unflatten(1, self.shape)
        return x.tanh() if len(self.shape) == 3 else x

    def training_step(self, batch, batch_idx):
        of_generator, of_discriminator = self.optimizers()
        z = torch.randn(len(batch), self.latent_dim, device=batch.device)

        loss_d = (softplus(-self.discriminator(batch)) + softplus(self.discriminator(self(z).detach()))).mean()
        of_discriminator.zero_grad()
        self.manual_backward(loss_d)
        of_discriminator.step()

        loss_g = softplus(-self.discriminator(self(z))).mean()
        of_generator.zero_grad()
        self.manual_backward(loss_g)
        of_generator.step()

        for schedule in self.lr_schedulers():
            schedule.step()
        self.log_dict({"loss_d": loss_d, "loss_g": loss_g})

    def configure_optimizers(self):
        optimizers = [
            torch.optim.Adam(network.parameters(), lr=self.lr, betas=(0.5, 0.99))
            for network in (self.generator, self.discriminator)
        ]
        return optimizers, [torch.optim.lr_scheduler.CosineAnnealingLR(o, self.steps) for o in optimizers]
