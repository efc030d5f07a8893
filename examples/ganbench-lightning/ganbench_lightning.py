"""A LightningModule as a variant: ganbench draws the batches, the module does the rest."""

from typing import Annotated

from lit_gan import LitGAN

from ganbench.plugin import Range, Variant, hookimpl


class WithoutTrainer(LitGAN):
    """The module as it is, but for what it would ask a Trainer."""

    def prepare(self):
        self.held_optimizers, self.held_schedules = self.configure_optimizers()
        self.losses = {}

    def optimizers(self, use_pl_optimizer=True):
        return self.held_optimizers

    def lr_schedulers(self):
        return self.held_schedules

    def manual_backward(self, loss, *args, **kwargs):
        loss.backward(*args, **kwargs)

    def log_dict(self, values, *args, **kwargs):
        self.losses.update(values)


class LightningGAN(Variant):
    """A GAN that was written for PyTorch Lightning, trained by its own training step."""

    name = "lightning-gan"
    decision_threshold = 0.0  # the score above which its discriminator says "real"

    def __init__(
        self,
        shape,
        latent_dim: Annotated[int, Range(2, 128, log=True), "size of z"] = 16,
        width: Annotated[int, Range(16, 512, log=True), "units of a hidden layer"] = 128,
        lr: Annotated[float, Range(1e-5, 1e-2, log=True), "Adam step size"] = 1e-3,
        steps: Annotated[int, Range(1, 1_000_000, log=True), "of the cosine schedule"] = 1000,
        **hyperparameters,
    ):
        super().__init__(shape, latent_dim=latent_dim, width=width, lr=lr, steps=steps, **hyperparameters)
        self.model = WithoutTrainer(shape, latent_dim, width, lr, steps)
        self.model.prepare()
        # By role: their steps are counted and measured, and a checkpoint has them.
        self.optimizers = dict(zip(("generator", "discriminator"), self.model.held_optimizers, strict=True))

    def train_step(self, batch, clock):
        self.model.training_step(batch.data, clock.step)
        losses = {"discriminator": self.model.losses.pop("loss_d"), "generator": self.model.losses.pop("loss_g")}
        return {role: loss.detach() for role, loss in losses.items()}

    def generate(self, z):
        return self.model(z)

    def score_real(self, x):
        return self.model.discriminator(x).flatten()


@hookimpl
def ganbench_variants():
    return [LightningGAN]
