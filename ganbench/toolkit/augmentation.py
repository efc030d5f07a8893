"""Random changes to all images that a discriminator sees, so that few images do not let it learn them by heart.

Real and generated images are changed alike and the generator learns through the change, so that it need not imitate it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from ganbench.plugin.gan import GAN
from ganbench.plugin.hyperparameters import Addition
from ganbench.plugin.variant import Batch, Clock, Unsuitable
from ganbench.toolkit.networks import is_image

Augmentation = Literal["none", "diffaug", "ada"]
RISE = 0.25  # share of the budget in which the probability can rise from 0 to 1
ADA_LIMIT = 0.8  # above it, changes leak into what G draws (Karras et al. 2020, section 2.2)


class Augment(nn.Module):
    """A layer in front of a discriminator that changes images at random in training: ``(n, c, h, w)`` to the same.

    In eval mode, and with ``"none"``, images pass as they are. Everything is differentiable twice, so that penalties on
    D's gradient go through it; all randomness is uniform or normal, from torch's global generator.

    ``"diffaug"`` is `differentiable_augmentation`, to every image. ``"ada"`` is `adaptive_augmentation`, with a
    probability ``p`` that is raised while D is too sure of real images, and lowered otherwise (Karras et al. 2020,
    section 3): call ``observe`` with D's logits of real images, and ``adapt`` after the updates.

    Attributes:
        p: probability of each change, in [0, 0.8]; a buffer, so that a resume keeps it.
        r: ``E[sign(D(x))]`` over the real images of the last batch: 0 for a D that guesses, 1 for one that is sure.
    """

    p: Tensor
    r: Tensor

    def __init__(self, kind: Augmentation, target: float = 0.6) -> None:
        super().__init__()
        self.kind, self.target = kind, target
        self.register_buffer("p", torch.zeros(()))
        self.register_buffer("r", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "none" or not self.training:
            return x
        return differentiable_augmentation(x) if self.kind == "diffaug" else adaptive_augmentation(x, self.p)

    def observe(self, real_logits: Tensor) -> None:
        """Note how sure D is of real images: logits ``(n,)``, above 0 for "real"."""
        self.r.copy_(real_logits.detach().sign().mean())

    def adapt(self, clock: Clock) -> None:
        """Move ``p`` by one step: up where ``r`` is above the target, down where it is below.

        The steps of a quarter of the budget lead from 0 to 1 (the paper's: of 500,000 images).
        """
        if self.kind == "ada":
            step = clock.fraction / max(1, clock.step) / RISE
            self.p.add_((self.r - self.target).sign() * step).clamp_(0.0, ADA_LIMIT)


class AugmentedGAN(GAN):
    """A GAN whose discriminator can see all images changed at random: ``--set NAME.augment=ada`` or ``diffaug``.

    The layer stands in front of whatever ``build_discriminator`` gives. A phase that does not call this class's
    ``discriminator_phase`` calls ``observe`` itself.
    """

    augment: Augmentation = "none"  # an attribute of an instance is state, which published results have without it

    def __init__(
        self,
        shape: torch.Size,
        augment: Annotated[Augmentation, Addition(), "random changes to all images that D sees"] = "none",
        **hyperparameters: Any,
    ) -> None:
        if augment != "none" and not is_image(shape):
            raise Unsuitable(f"{self.name} with augment={augment} changes images: it needs images, not points")
        if augment != "none":
            hyperparameters["augment"] = augment
        super().__init__(shape, **hyperparameters)
        if augment != "none":
            self.discriminator = nn.Sequential(Augment(augment), self.discriminator)

    def observe(self, real_logits: Tensor, fake_logits: Tensor) -> None:
        """Note how sure D is that real images are real; a critic has no such threshold but its scores of fakes."""
        if self.augment != "none":
            zero = fake_logits.mean() if self.decision_threshold is None else self.decision_threshold
            self.discriminator[0].observe(real_logits - zero)  # type: ignore[index]

    def discriminator_phase(self, real: Batch, fake: Batch) -> Tensor:
        real_logits, fake_logits = self.judge(real), self.judge(fake)
        self.observe(real_logits, fake_logits)
        return self.discriminator_loss(real_logits, fake_logits)

    def settle(self, clock: Clock) -> None:
        if self.augment != "none":
            self.discriminator[0].adapt(clock)  # type: ignore[index]


def differentiable_augmentation(x: Tensor) -> Tensor:
    """Brightness, saturation, contrast, translation and a grey square, each drawn anew for each image.

    Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", section 3, with the ranges of its
    strongest policy: brightness plus U(-1/2, 1/2), saturation times U(0, 2), contrast times U(1/2, 3/2), translation by
    up to an eighth of the side filled with 0, a square of half the side set to 0.
    """
    uniform = _uniform(x)
    x = x + (uniform() - 0.5)
    if x.shape[1] > 1:
        grey = x.mean(1, keepdim=True)
        x = grey + (x - grey) * (2 * uniform())
    mean = x.mean((1, 2, 3), keepdim=True)
    x = mean + (x - mean) * (uniform() + 0.5)
    height, width = x.shape[2:]
    rows, columns = _places(x)
    down, right = (_whole(uniform(), -round(side / 8), round(side / 8)) for side in (height, width))
    x = _gather(x, rows - down, columns - right)
    top, left = _whole(uniform(), 0, height), _whole(uniform(), 0, width)  # of the square's centre
    away = (_outside(rows - top, height // 4)) | (_outside(columns - left, width // 4))
    return x * away


def adaptive_augmentation(x: Tensor, p: Tensor) -> Tensor:
    """Flips, turns, shifts, scales, brightness, contrast and saturation, each with probability ``p`` for each image.

    Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", appendix B, without
    anisotropic scaling, luma flips, hue, filters, noise and cutout: x-flips, turns by a multiple of 90 degrees (of
    square images), shifts by whole pixels; scaling, rotation by any angle and fractional shifts, with bilinear
    interpolation; places outside are the nearest edge's.

    Args:
        x: images ``(n, c, h, w)``.
        p: in [0, 1], a tensor without axes. At 0 nothing changes.
    """
    uniform = _uniform(x)

    def normal() -> Tensor:
        return torch.randn_like(x[:, :1, :1, :1])

    def chosen(value: Tensor, otherwise: float) -> Tensor:
        return torch.where(uniform() < p, value, otherwise)

    height, width = x.shape[2:]
    flip = chosen(1 - 2 * (uniform() < 0.5).to(x.dtype), 1.0)
    quarters = chosen(_whole(uniform(), 0, 3), 0.0) if height == width else torch.zeros_like(flip)
    down, right = (chosen(_whole(uniform(), -round(side / 8), round(side / 8)), 0.0) for side in (height, width))
    scale = chosen((0.2 * math.log(2) * normal()).exp(), 1.0)
    angle = quarters * (math.pi / 2) + chosen((uniform() - 0.5) * (2 * math.pi), 0.0)
    down, right = down + chosen(normal() * (height / 8), 0.0), right + chosen(normal() * (width / 8), 0.0)

    # Where in the old image each place of the new one comes from, relative to the centre.
    rows, columns = _places(x)
    y, z = rows - (height - 1) / 2 - down, columns - (width - 1) / 2 - right
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    y, z = cosine * y - sine * z, (sine * y + cosine * z) * flip
    x = _interpolate(x, y + (height - 1) / 2, z + (width - 1) / 2)

    x = x + chosen(0.2 * normal(), 0.0)
    x = x * chosen((0.5 * math.log(2) * normal()).exp(), 1.0)
    if x.shape[1] > 1:
        grey = x.mean(1, keepdim=True)
        x = x + (x - grey) * (chosen((math.log(2) * normal()).exp(), 1.0) - 1)
    return x


def _uniform(x: Tensor) -> Callable[[], Tensor]:
    """Draws from U(0, 1), one number an image: ``(n, 1, 1, 1)``."""
    return lambda: torch.rand_like(x[:, :1, :1, :1])


def _whole(u: Tensor, low: int, high: int) -> Tensor:
    """A whole number from ``low`` to ``high``, both included, from a uniform number."""
    return low + (u * (high - low + 1)).floor()


def _places(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows ``(h, 1)`` and columns ``(w,)`` of an image."""
    height, width = x.shape[2:]
    about = {"dtype": x.dtype, "device": x.device}
    return torch.arange(height, **about)[:, None], torch.arange(width, **about)  # type: ignore[call-overload]


def _outside(distance: Tensor, half: int) -> Tensor:
    return (distance < -half) | (distance >= half)


def _gather(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Pixels of ``x`` at other places ``(n, 1, h, w)``; 0 for those that lie outside."""
    height, width = x.shape[2:]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    index = (rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)).to(torch.int64)
    index, inside = (value.expand(-1, x.shape[1], height, width) for value in (index, inside))
    return x.flatten(2).gather(2, index.flatten(2)).unflatten(2, (height, width)) * inside


def _interpolate(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Bilinear interpolation at places between pixels; the nearest edge for those that lie outside."""
    rows, columns = rows.clamp(0, x.shape[2] - 1), columns.clamp(0, x.shape[3] - 1)
    top, left = rows.floor(), columns.floor()
    below, beside = rows - top, columns - left
    bottom, right = rows.ceil(), columns.ceil()
    above = torch.lerp(_gather(x, top, left), _gather(x, top, right), beside)
    under = torch.lerp(_gather(x, bottom, left), _gather(x, bottom, right), beside)
    return torch.lerp(above, under, below)
