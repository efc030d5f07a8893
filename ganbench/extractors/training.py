"""Train the small classifiers whose features scores use: deterministic on one machine.

Fixed seed, one thread, training split only. Another processor or version of torch gives other last
digits, and with them another ``weights_hash``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganbench.extractors.classifier import BATCH, SMALLEST, full_precision, network


def moved(images: Tensor, rng: torch.Generator) -> Tensor:
    """Augment: each image turned, scaled, sheared and shifted a little, since 897 digits are few."""
    n = len(images)

    def uniform(width: float, *shape: int) -> Tensor:
        return (torch.rand(n, *shape, generator=rng) - 0.5) * width

    angle, scale, shear, shift = uniform(0.5), 1 + uniform(0.3, 2), uniform(0.3), uniform(0.35, 2)
    first = torch.stack([angle.cos() * scale[:, 0], shear - angle.sin(), shift[:, 0]], dim=1)
    second = torch.stack([angle.sin(), angle.cos() * scale[:, 1], shift[:, 1]], dim=1)
    grid = F.affine_grid(torch.stack([first, second], dim=1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def mirrored(images: Tensor, rng: torch.Generator) -> Tensor:
    """Augment: each image as it is or mirrored left to right, at random."""
    flip = torch.rand(len(images), 1, 1, 1, generator=rng) < 0.5
    return torch.where(flip, images.flip(-1), images)


def shifted(images: Tensor, rng: torch.Generator) -> Tensor:
    """Augment: the whole batch moved by up to a sixteenth of its side, its edges repeated."""
    height, width = images.shape[2:]
    most = max(1, min(height, width) // 16)
    down, right = torch.randint(0, 2 * most + 1, (2,), generator=rng).tolist()
    padded = F.pad(images, (most,) * 4, mode="replicate")
    return padded[:, :, down : down + height, right : right + width]


@dataclass(frozen=True)
class Recipe:
    """The settings of a training.

    Attributes:
        augment: what is done to a batch of images in [0, 255] before each step.
        channels: of the first convolution.
    """

    augment: Callable[[Tensor, torch.Generator], Tensor]
    epochs: int
    batch_size: int
    lr: float = 4e-3
    weight_decay: float = 1e-2
    channels: int = 16
    seed: int = 0


def untrained(shape: tuple[int, ...], size: int, classes: int, recipe: Recipe) -> dict[str, Tensor]:
    """Initial weights, as torch initialises layers, for ``size`` features and ``classes`` logits of such images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        conv1 = nn.Conv2d(shape[0], recipe.channels, 3)
        conv2 = nn.Conv2d(recipe.channels, 2 * recipe.channels, 3)
        height, width = shape[1:]
        for _ in (conv1, conv2):
            if min(height, width) > SMALLEST:
                height, width = height // 2, width // 2
        features = nn.Linear(2 * recipe.channels * height * width, size)
        layers = {"conv1": conv1, "conv2": conv2, "features": features, "classes": nn.Linear(size, classes)}
    return {f"{name}.{key}": value for name, layer in layers.items() for key, value in layer.named_parameters()}


def accuracy(weights: dict[str, Tensor], images: Tensor, labels: Tensor) -> float:
    """Share of images whose class is found."""
    with torch.no_grad():
        logits = torch.cat([network(weights, chunk)[1] for chunk in images.split(BATCH)])
    return (logits.argmax(dim=1) == labels).double().mean().item()


def train(images: Tensor, labels: Tensor, size: int, classes: int, recipe: Recipe) -> dict[str, Tensor]:
    """The weights of ``network`` trained on uint8 images ``(n, c, h, w)`` and labels ``(n,)``.

    AdamW on the cross-entropy, the step size rising and falling once (Smith and Topin 2018). The global
    random state and the number of threads are as before afterwards.
    """
    rng = torch.Generator().manual_seed(recipe.seed)
    weights = untrained(tuple(images.shape[1:]), size, classes, recipe)
    steps = recipe.epochs * (len(images) // recipe.batch_size)
    optimizer = torch.optim.AdamW(weights.values(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=steps)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.enable_grad(), full_precision("cpu"):
            for _ in range(recipe.epochs):
                order = torch.randperm(len(images), generator=rng)
                for rows in order[: len(order) // recipe.batch_size * recipe.batch_size].split(recipe.batch_size):
                    logits = network(weights, recipe.augment(images[rows].float(), rng))[1]
                    optimizer.zero_grad()
                    F.cross_entropy(logits, labels[rows]).backward()
                    optimizer.step()
                    schedule.step()
    finally:
        torch.set_num_threads(threads)
    return {name: value.detach() for name, value in weights.items()}
