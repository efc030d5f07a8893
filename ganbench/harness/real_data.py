"""Real data: a dataset's two splits on a device, and the features of what evaluations compare samples with.

Samples are compared with the held-out split, or with the training split where the protocol says so: the whole of it, or
a fixed draw where it is larger.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganbench.harness.array_cache import RealCache
from ganbench.harness.defaults import counts_modes
from ganbench.metrics import features_of
from ganbench.metrics.samples import EXTRACTOR_BATCH
from ganbench.plugin.interfaces import Dataset, Extractor, Side
from ganbench.utils.errors import UsageError
from ganbench.utils.pixels import from_uint8
from ganbench.utils.seeding import derive, generator

MOST_SAMPLES = 10_000  # real and fake samples that an evaluation compares, unless --samples asks for another number
VALIDATION = 0.2  # share of the training split that a search holds out, to choose by
_DRAW = 2020  # the root of draws that are the same for every trial
STREAMS = {"train": "train", "test": "reference"}  # by which rows of a split are drawn to be compared with


def content_hash(splits: dict[str, tuple[Tensor, Tensor | None]]) -> str:
    """Hash both splits after decoding, labels included: hex SHA-256."""
    digest = hashlib.sha256()
    for name in sorted(splits):
        for part in splits[name]:
            shape = None if part is None else (str(part.dtype), tuple(part.shape))
            digest.update(f"{name}\0{shape}\0".encode())
            if part is not None:
                digest.update(part.contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_split(dataset: Dataset, split: str) -> tuple[Tensor, Tensor | None]:
    """One split as tensors, checked against what the dataset declares; raises ValueError naming what differs."""
    if len(dataset.shape) not in (1, 3):
        raise ValueError(
            f"dataset {dataset.name} has samples of shape {tuple(dataset.shape)}: expected (channels, height, width) "
            "for images, or (d,) for points and rows of a table; sequences, videos and volumes are not supported"
        )
    data, labels = dataset.load(split)
    data = torch.as_tensor(data)
    labels = None if labels is None else torch.as_tensor(labels)
    expected = torch.uint8 if len(dataset.shape) == 3 else torch.float32
    if data.dtype != expected or tuple(data.shape[1:]) != tuple(dataset.shape) or len(data) < 2:
        wanted = ", ".join(map(str, dataset.shape))
        raise ValueError(
            f"dataset {dataset.name}, split {split}: expected {expected} of shape (n, {wanted}) with n of at least 2, "
            f"got {data.dtype} {tuple(data.shape)}"
        )
    if labels is not None and (labels.dtype != torch.int64 or tuple(labels.shape) != (len(data),)):
        raise ValueError(
            f"dataset {dataset.name}, split {split}: expected int64 labels of shape ({len(data)},), "
            f"got {labels.dtype} {tuple(labels.shape)}"
        )
    return data, labels


def rows(total: int, n: int, *stream: str | int) -> Tensor:
    """``n`` of ``total`` row numbers drawn without replacement, in order, the same in every trial; or all."""
    if n >= total:
        return torch.arange(total)
    return torch.randperm(total, generator=generator(derive(_DRAW, *stream)))[:n].sort().values


def validation_split(splits: dict[str, tuple[Tensor, Tensor | None]], name: str) -> dict[str, Any]:
    """The training split cut in two: four fifths to train on, and in place of the held-out split a fifth of it.

    What is chosen by the second part, as ``ganbench tune`` does, has not seen the split that scores are reported on.
    Which rows is drawn, the same in every trial. Raises UsageError where there are fewer than ten.
    """
    data, labels = splits["train"]
    if len(data) < 10:
        raise UsageError(f"dataset {name} has {len(data)} training samples: too few to choose by some of them")
    order = torch.randperm(len(data), generator=generator(derive(_DRAW, "validation")))
    cut = round(VALIDATION * len(data))
    parts = {"train": order[cut:].sort().values, "test": order[:cut].sort().values}
    return {split: (data[index], None if labels is None else labels[index]) for split, index in parts.items()}


class RealData:
    """A dataset's splits on one device, with the features of what evaluations compare.

    Attributes:
        samples: fakes that the last evaluation draws; ``held_out`` has as many real samples, or all.
        against: the split, ``test`` or ``train``, of the samples that they are compared with.
        independent: the other one, whose images an ideal sampler's scores are computed from.
        features: rows of them that have features. Where modes are counted in many samples, their class
            probabilities are of all and their features of the first: neighbours cost the square of their number.
        notes: what the user should be told of the dataset and the extractor.

    Args:
        cache: where features of real images are read, and written by ``keep``; None: they are computed.
        split: what fakes are compared with: ``test``, ``train``, or ``validation``, a part of the training split that
            is then trained on no more, and takes the place of the held-out one throughout.
    """

    def __init__(
        self,
        dataset: Dataset,
        extractor: Extractor,
        samples: int,
        device: torch.device | str = "cpu",
        cache: RealCache | None = None,
        split: str = "test",
    ) -> None:
        self.dataset, self.extractor, self.samples = dataset, extractor, samples
        self.cache = cache if len(dataset.shape) == 3 else None  # points are their own features
        self.against, self.independent = ("train", "test") if split == "train" else ("test", "train")
        self._sides: dict[str, tuple[Side, set[str]]] = {}  # by key, with the names of what the cache has of it
        self._references: dict[int, Side] = {}
        self.device = torch.device(device)
        self.splits = {split: load_split(dataset, split) for split in ("train", "test")}
        if split == "validation":
            self.splits = validation_split(self.splits, dataset.name)
        self.hash = content_hash(self.splits)
        self.features = MOST_SAMPLES if counts_modes(dataset) else None
        self.notes: list[str] = [*dataset.notes, *extractor.fit(dataset, self.splits, self.hash)]
        self.images = {split: data.to(self.device) for split, (data, _) in self.splits.items()}

    @cached_property
    def labels(self) -> Tensor | None:
        """The training split's labels, on the device."""
        labels = self.splits["train"][1]
        return None if labels is None else labels.to(self.device)

    def intact(self) -> bool:
        """Whether both splits are still what was loaded: what shares a process with them can write into them."""
        return (
            content_hash({split: (data.cpu(), self.splits[split][1]) for split, data in self.images.items()})
            == self.hash
        )

    def normalised(self, split: str, index: Tensor) -> Tensor:
        """Rows of a split as variants see them: images in [-1, 1], points as they are."""
        rows = self.images[split].index_select(0, index)
        return from_uint8(rows) if rows.dtype == torch.uint8 else rows

    @property
    def held_out(self) -> Side:
        """The real samples that fakes are compared with: held-out ones, or training ones if that was asked for."""
        return self.reference(self.samples)

    def reference(self, n: int) -> Side:
        """The real samples that ``n`` fakes are compared with: as many, or all."""
        index = self.draw(self.against, n, STREAMS[self.against])
        if len(index) not in self._references:
            self._references[len(index)] = self._kept(self.against, index)
        return self._references[len(index)]

    @cached_property
    def train(self) -> Side:
        """The whole training split."""
        return self._kept("train", torch.arange(len(self.images["train"])), all_features=True)

    @cached_property
    def train_draw(self) -> Side:
        """As many training samples as an evaluation draws fakes, or all: what ``fid_train`` compares with."""
        if self.against == "train":
            return self.held_out
        return self._kept("train", self.draw("train", self.samples, STREAMS["train"]))

    def draw(self, split: str, n: int, *stream: str | int) -> Tensor:
        """Row numbers of ``n`` samples drawn without replacement, the same in every trial; or all."""
        return rows(len(self.images[split]), n, *stream)

    def resampled(self, split: str, n: int, all_features: bool, *stream: str | int) -> Side:
        """``n`` samples drawn with replacement, the same in every trial; each image passes the extractor once."""
        index = torch.randint(len(self.images[split]), (n,), generator=generator(derive(_DRAW, *stream)))
        rows, places = index.unique(return_inverse=True)
        known = self.side(split, rows, all_features=True)
        most = None if all_features else self.features
        drawn = places.numpy()
        probabilities, labels = (None if part is None else part[drawn] for part in (known.probabilities, known.labels))
        return Side(known.samples[drawn], known.features[drawn][:most], probabilities, labels, known.device)

    def side(self, split: str, index: Tensor, all_features: bool = False) -> Side:
        return self.describe(*self._rows(split, index), all_features)

    def _rows(self, split: str, index: Tensor) -> tuple[Tensor, np.ndarray | None]:
        labels = self.splits[split][1]
        return self.images[split][index.to(self.device)], None if labels is None else labels[index].numpy()

    def _kept(self, split: str, index: Tensor, all_features: bool = False) -> Side:
        """A side whose features the cache keeps, with what scores derived from them."""
        if self.cache is None:
            return self.side(split, index, all_features)
        chosen = hashlib.sha256(index.numpy().tobytes()).hexdigest()
        key = self.cache.key(self.hash, split, chosen, all_features, self.features, self.extractor.weights_hash)
        known = self.cache.cache.get(key) or {}
        names = set(known)
        if known:
            samples, labels = self._rows(split, index)
            # In memory of their own, aligned as when they are computed: some kernels' last bits depend on it.
            features = known.pop("features").clone().numpy()
            likely = known.pop("probabilities", None)
            probabilities = None if likely is None else likely.clone().numpy()
            side = Side(samples.cpu().numpy(), features, probabilities, labels, str(self.device))
            features_of(side).import_arrays({name: tensor.numpy().copy() for name, tensor in known.items()})
        else:
            side = self.side(split, index, all_features)
        self._sides[key] = side, names
        return side

    def keep(self) -> None:
        """Write to the cache what it does not have of real images: features, and what scores derived from them."""
        for key, (side, names) in self._sides.items():
            found = {"features": side.features, **features_of(side).arrays}
            if side.probabilities is not None:
                found["probabilities"] = side.probabilities
            if self.cache is not None and not found.keys() <= names:
                arrays = {name: np.ascontiguousarray(array) for name, array in found.items()}
                self.cache.cache.put(key, {name: torch.from_numpy(array) for name, array in arrays.items()})
                names |= found.keys()

    def describe(self, samples: Tensor, labels: np.ndarray | None = None, all_features: bool = False) -> Side:
        """Samples as the extractor sees them: uint8 images, or points; one pass.

        ``all_features``: of all samples, not only of as many as scores use.
        """
        with torch.no_grad():
            outputs = [self.extractor(chunk) for chunk in samples.split(EXTRACTOR_BATCH)]
        features = _numpy([f for f, _ in outputs])[: None if all_features else self.features]
        probabilities = None if outputs[0][1] is None else _numpy([p for _, p in outputs])
        return Side(samples.cpu().numpy(), features, probabilities, labels, str(self.device))


def _numpy(parts: list[Any]) -> np.ndarray:
    return torch.cat([torch.as_tensor(part).float().cpu() for part in parts]).numpy()
