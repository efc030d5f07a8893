"""Discs, squares and triangles: 16x16 grey images that are drawn, not downloaded."""

import numpy as np

from ganbench.plugin import Dataset, hookimpl

SIDE = 16
IMAGES = {"train": 1000, "test": 500}


def load(split):
    """uint8 images (n, 1, 16, 16) and their classes (n,): 0 disc, 1 square, 2 triangle."""
    n = IMAGES[split]
    # RandomState draws the same numbers with every version of NumPy; the splits have streams of their own.
    rng = np.random.RandomState({"train": 1, "test": 2}[split])
    labels = rng.randint(3, size=n).astype(np.int64)
    radius = rng.uniform(3, 6, size=(n, 1, 1))
    row, column = rng.uniform(6, 10, size=(2, n, 1, 1))
    brightness = rng.randint(128, 256, size=(n, 1, 1))  # without it many held-out images would be training images too
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    y, x = (y - row) / radius, (x - column) / radius  # (n, 16, 16), the shape around the origin
    disc = x**2 + y**2 <= 1
    square = np.maximum(abs(x), abs(y)) <= 0.9
    triangle = (y <= 0.8) & (2 * abs(x) <= y + 1)
    images = np.choose(labels[:, None, None], [disc, square, triangle])
    return (images * brightness)[:, None].astype(np.uint8), labels


@hookimpl
def ganbench_datasets():
    return [
        Dataset(
            name="shapes",
            shape=(1, SIDE, SIDE),
            classes=3,
            primary="fid",
            budget_images=64_000,
            load=load,
        )
    ]
