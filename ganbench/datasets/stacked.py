"""Images with a digit in each colour channel: 1,000 modes that a classifier of one digit can count.

Metz et al. 2017, "Unrolled Generative Adversarial Networks", and Srivastava et al. 2017, "VEEGAN",
section 4, stack MNIST; the digits of scikit-learn stacked in the same way need no download.
"""

from __future__ import annotations

import numpy as np

from ganbench.datasets.digits import Digits
from ganbench.datasets.mnist import IDX
from ganbench.datasets.synthetic import named_stream
from ganbench.plugin.hookspecs import hookimpl
from ganbench.plugin.interfaces import REQUIRED, Dataset, plugin_dataclass

COUNTS = {"train": 51_200, "test": 26_000}


@plugin_dataclass
class Stacked(Dataset):
    """Three digits in the colour channels of one image: 1,000 classes, for counting modes.

    Each channel is a digit from the same split of another dataset.

    Which digits are stacked is drawn with replacement from a stream that depends on the dataset's name
    and the split alone. The label of digits a, b and c, in red, green and blue, is ``100 a + 10 b + c``.

    Attributes:
        base: the dataset of grey digits.
    """

    classes = 1000
    primary = "mode_kl"
    samples = 26_000  # as in the literature: 1,000 modes need many
    base: Dataset = REQUIRED

    def __post_init__(self) -> None:
        self.shape = (3, *self.base.shape[1:])
        super().__post_init__()

    def load(self, split: str) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[misc]
        """Images ``(n, 3, height, width)`` uint8 and labels ``(n,)`` int64."""
        n = COUNTS[split]
        images, digits = self.base.load(split)
        rows = named_stream(f"{self.name}/{split}").randint(0, len(images), size=(n, 3), dtype=np.int64)
        return images[rows, 0], digits[rows] @ np.array([100, 10, 1])


@hookimpl
def ganbench_datasets() -> list[Dataset]:
    mnist = next(dataset for dataset in IDX if dataset.name == "mnist")
    return [
        Stacked(name="stacked-digits", base=Digits(), budget_images=128_000),
        Stacked(name="stacked-mnist", base=mnist, budget_images=128_000),
    ]
