"""Train a classifier for a labelled dataset that has no shipped weights: once on this machine, then cached.

``<dataset>-cnn`` lies in the cache folder under a name that holds the hash of the data and of the
recipe, and of the file itself.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganbench.extractors import Unfit
from ganbench.extractors.classifier import Classifier
from ganbench.plugin.hookspecs import hookimpl
from ganbench.plugin.interfaces import Dataset, Extractor
from ganbench.utils.errors import UsageError
from ganbench.utils.files import cache_folder, replacing
from ganbench.utils.withheld import may_do

if TYPE_CHECKING:
    from torch import Tensor

    Splits = dict[str, tuple[Tensor, Tensor | None]]

SUFFIX = "-cnn"
SIZE = 64
VERSION = 1  # rises when the same data would give another classifier
PIXELS = 120_000 * 28 * 28  # of all images that a training sees: about 40 s, whatever their size and number
MOST_EPOCHS = 60


class Trained(Classifier):
    """Features of a classifier that is trained on the dataset itself; call ``fit`` first."""

    size = SIZE
    shape = (0, 0, 0)  # these two are the dataset's once it is fitted
    classes = 0

    def fit(self, dataset: Dataset, splits: Splits, content: str) -> list[str]:
        """Find the classifier of ``dataset`` in the cache folder, or train it; return what the user should be told.

        Args:
            splits: uint8 images and labels of ``train`` and ``test``.
            content: SHA-256 of both.

        Raises:
            UsageError: this is the extractor of another dataset; Unfit: the dataset has no labels.
        """
        name = f"{dataset.name}{SUFFIX}"
        if self.name != name:
            raise UsageError(
                f"extractor {self.name} is trained on a dataset {self.name.removesuffix(SUFFIX)} and cannot score "
                f"{dataset.name}; that has {name}"
            )
        labels = [part for _, part in splits.values() if part is not None]
        if len(dataset.shape) != 3 or not dataset.classes or len(labels) < len(splits):
            raise Unfit(f"{dataset.name} has no labels to train a classifier on; --extractor pixels needs none")
        return self.obtain(splits, dataset.classes, content)

    def obtain(self, splits: Splits, classes: int, content: str) -> list[str]:
        """Set ``path``, where the weights are, training them if need be; ``splits`` have labels below ``classes``."""
        from filelock import FileLock

        images = splits["train"][0]
        self.shape, self.classes = (images.shape[1], images.shape[2], images.shape[3]), classes
        folder = cache_folder("extractors")
        key = hashlib.sha256(f"{VERSION}/{SIZE}/{classes}/{content}".encode()).hexdigest()[:16]
        notes = []
        if not any(folder.glob(f"{self.name}-{key}-*.safetensors")):
            may_do(f"train {self.name}: no weights are shipped for it (at most about a minute, once on this machine)")
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{self.name}-{key}.lock"):
            for path in folder.glob(f"{self.name}-{key}-*.safetensors"):
                if _digest(path.read_bytes()) == path.stem.rpartition("-")[2]:
                    self.path = path
                    return []
                path.unlink()
                notes.append(f"{self.name}: {path} was damaged")
            start = time.perf_counter()
            weights, found = _train(splits, classes)
            self.path = _keep(folder, f"{self.name}-{key}", weights, {"dataset": content, "held_out_accuracy": found})
        seconds = time.perf_counter() - start
        told = (
            f"{self.name}: no weights are shipped for it, so it was trained here in {seconds:.0f} s (held-out accuracy "
            f"{found:.3f}) and is kept as {self.path}; scores by other weights are not comparable with its scores"
        )
        return [*notes, told]

    @property
    def path(self) -> Path:
        if self._path is None:
            raise UsageError(f"extractor {self.name} was not fitted to its dataset")
        return self._path

    @path.setter
    def path(self, path: Path) -> None:
        self._path = path

    _path: Path | None = None


class AnyTrained(Extractor):
    """The classifier ``<dataset>-cnn`` of any labelled dataset, trained once on this machine."""

    name = "cnn"
    size = SIZE
    weights_hash = ""

    def member(self, name: str) -> Trained | None:
        return Trained(name=name) if name.endswith(SUFFIX) else None

    def fit(self, dataset: Dataset, splits: Splits, content: str) -> list[str]:
        raise UsageError(f"the classifier of a dataset is named after it: {dataset.name}{SUFFIX}")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _train(splits: Splits, classes: int) -> tuple[dict[str, Tensor], float]:
    """Train a classifier: its weights, and its accuracy on held-out images."""
    import torch

    from ganbench.extractors.training import Recipe, accuracy, shifted, train

    (images, labels), (held_out, expected) = splits["train"], splits["test"]
    assert labels is not None and expected is not None
    rows = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    rows = rows[: max(1, PIXELS // (images.shape[2] * images.shape[3]))]
    images, labels = images[rows], labels[rows]
    epochs = min(MOST_EPOCHS, max(1, round(PIXELS / images[:, 0].numel())))
    recipe = Recipe(shifted, epochs, batch_size=min(len(images), 64), lr=2e-3)
    weights = train(images, labels, SIZE, classes, recipe)
    return weights, accuracy(weights, held_out[:10_000], expected[:10_000])


def _keep(folder: Path, name: str, weights: dict[str, Tensor], about: dict[str, Any]) -> Path:
    from safetensors.torch import save

    # One entry: safetensors writes several in an order that changes from run to run.
    data = save(weights, metadata={"training": json.dumps(about, sort_keys=True)})
    path = folder / f"{name}-{_digest(data)}.safetensors"
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return path


@hookimpl
def ganbench_extractors() -> list[Extractor]:
    return [AnyTrained()]
