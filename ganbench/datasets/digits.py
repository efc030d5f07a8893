"""scikit-learn's handwritten digits, 8x8: real images that come with a package and need no network."""

from __future__ import annotations

import hashlib

import numpy as np

from ganbench.plugin.hookspecs import hookimpl
from ganbench.plugin.interfaces import Dataset

HELD_OUT = 900


def split_order(images: np.ndarray, seed: str) -> np.ndarray:
    """Shuffle images reproducibly: indices in an order that depends on pixels and ``seed`` alone.

    Sorting by SHA-256 makes the split independent of any library's random numbers and of the order of the rows.
    """
    return np.array(
        sorted(range(len(images)), key=lambda i: hashlib.sha256(seed.encode() + images[i].tobytes()).digest())
    )


def stratified_sizes(counts: np.ndarray, total: int) -> np.ndarray:
    """Divide ``total`` among classes in proportion to ``counts``, by the largest remainder."""
    places = counts * total // counts.sum()
    remainders = counts * total % counts.sum()
    places[np.argsort(-remainders, kind="stable")[: total - places.sum()]] += 1
    return places


class Digits(Dataset):
    """8x8 grey images of handwritten digits: 897 for training and 900 held out.

    From scikit-learn; they are the test set of Alpaydin and Kaynak 1998 (UCI).
    """

    name = "digits"
    shape = (1, 8, 8)
    classes = 10
    budget_images = 64_000

    def load(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Images ``(n, 1, 8, 8)`` uint8, their 17 grey levels spread over 0 to 255, and digits ``(n,)`` int64."""
        from sklearn.datasets import load_digits

        pixels, target = load_digits(return_X_y=True)
        images = ((pixels.astype(np.int64) * 255 + 8) // 16).astype(np.uint8).reshape(-1, *self.shape)
        labels = target.astype(np.int64)
        order = split_order(images, "digits/split/0")
        held_out = stratified_sizes(np.bincount(labels), HELD_OUT)
        chosen = np.zeros(len(labels), dtype=bool)
        for digit, size in enumerate(held_out):
            chosen[order[labels[order] == digit][:size]] = True
        rows = order[{"train": ~chosen, "test": chosen}[split][order]]
        return images[rows], labels[rows]


@hookimpl
def ganbench_datasets() -> list[Dataset]:
    return [Digits()]
