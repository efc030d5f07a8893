"""A small classifier that is trained from scratch on labelled samples, for the classification accuracy score."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

STEPS = 300
BATCH = 64
LR = 4e-3
ROWS_AT_ONCE = 500
LARGEST = 32
"""Pixels a side; larger images are reduced to it, so that a classifier costs seconds."""


def network(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Two 3x3 convolutions of stride 2 and a linear layer; for points two hidden layers. All with ReLU."""
    if len(shape) == 1:
        return nn.Sequential(nn.Linear(shape[0], 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, classes))
    channels, height, width = shape
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * -(-height // 4) * -(-width // 4), classes),
    )


def downsampled(samples: np.ndarray) -> Tensor:
    """Images reduced to at most 32 pixels a side; points as is; float32."""
    if samples.ndim == 2 or max(samples.shape[2:]) <= LARGEST:
        return torch.from_numpy(np.float32(samples))
    size = [min(side, LARGEST) for side in samples.shape[2:]]
    chunks = (torch.from_numpy(np.float32(samples[i : i + ROWS_AT_ONCE])) for i in range(0, len(samples), ROWS_AT_ONCE))
    return torch.cat([functional.interpolate(chunk, size, mode="area") for chunk in chunks])


class SmallClassifier:
    """A classifier of ``samples``, ``(n, channels, height, width)`` or ``(n, d)``.

    300 steps of Adam on batches of 64, step size falling from 4e-3 to 0, standardised by the samples;
    all chance comes from ``seed``, and the global generators are left alone.
    """

    def __init__(self, samples: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> None:
        x, y = downsampled(samples), torch.from_numpy(labels)
        axes = [0] if x.dim() == 2 else [0, 2, 3]
        self.mean, self.std = x.mean(axes, keepdim=True), x.std(axes, unbiased=False, keepdim=True)
        self.std[self.std == 0.0] = 1.0
        default = torch.get_default_dtype()
        with torch.random.fork_rng(devices=[]), torch.enable_grad(), torch.autocast("cpu", enabled=False):
            torch.manual_seed(seed)
            torch.set_default_dtype(torch.float32)
            try:
                self.network = network(tuple(x.shape[1:]), classes)
                self._train((x - self.mean) / self.std, y)
            finally:
                torch.set_default_dtype(default)

    def _train(self, x: Tensor, y: Tensor) -> None:
        optimizer = torch.optim.Adam(self.network.parameters(), lr=LR, fused=True)
        order = torch.cat([torch.randperm(len(x)) for _ in range(-(-STEPS * BATCH // len(x)))])
        for step, rows in enumerate(order[: STEPS * BATCH].split(BATCH)):
            for group in optimizer.param_groups:
                group["lr"] = LR * (1.0 - step / STEPS)
            loss = functional.cross_entropy(self.network(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Classes ``(n,)``."""
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            parts = [
                self.network((part - self.mean) / self.std).argmax(1)
                for part in downsampled(samples).split(ROWS_AT_ONCE)
            ]
        return torch.cat(parts).numpy()
