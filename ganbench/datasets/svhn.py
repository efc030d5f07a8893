"""Street View House Numbers, cropped digits (Netzer et al. 2011), from its two MATLAB files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ganbench.datasets import DatasetError
from ganbench.datasets.published import Published
from ganbench.plugin.hookspecs import hookimpl
from ganbench.plugin.interfaces import Dataset, plugin_dataclass

FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
COUNTS = {"train": 73_257, "test": 26_032}


@plugin_dataclass
class HouseNumbers(Published):
    """Photographed digits, 32x32 in colour: 73,257 for training and 26,032 held out.

    Attributes:
        counts: images in each split.
    """

    shape = (3, 32, 32)
    classes = 10
    counts: Mapping[str, int] = COUNTS

    def load(self, split: str) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[misc]
        """Images ``(n, 3, 32, 32)`` uint8 and digits ``(n,)`` int64, 0 to 9.

        Raises:
            DatasetError: a file is nowhere, not the published one, or not what it should hold.
        """
        from scipy.io import loadmat

        file, n = FILES[split], self.counts[split]
        path = self.find()[file]
        self.verify(file, path)  # first: nothing but the published bytes reaches the parser
        # loadmat builds arrays and runs nothing that it reads: functions and objects of MATLAB stay data.
        found: dict[str, Any] = loadmat(path, variable_names=("X", "y"))
        images, labels = found.get("X"), found.get("y")
        if (
            not (isinstance(images, np.ndarray) and isinstance(labels, np.ndarray))
            or (images.dtype, images.shape) != (np.uint8, (*self.shape[1:], self.shape[0], n))
            or labels.shape != (n, 1)
            or not np.isin(labels, np.arange(1, self.classes + 1)).all()
        ):
            raise DatasetError(f"{path} does not hold {n:,} images X and their labels y, 1 to {self.classes}")
        # Height, width, colour, image becomes image, colour, height, width; the file calls the digit 0 ten.
        return np.ascontiguousarray(images.transpose(3, 2, 0, 1)), labels[:, 0].astype(np.int64) % 10


@hookimpl
def ganbench_datasets() -> list[Dataset]:
    return [
        HouseNumbers(
            name="svhn",
            budget_images=128_000,
            sums={
                "train_32x32.mat": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
                "test_32x32.mat": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
            },
            mirrors=("http://ufldl.stanford.edu/housenumbers/",),
        )
    ]
