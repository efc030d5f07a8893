"""Keeps an extractor's features of images on disk, so that scoring the same images again takes no time.

Features stand under the hash of the pixels and of everything else that decides them, never under a path: the same
pixels elsewhere are found again, other pixels under the same path are not. An interrupted pass over many images goes on
where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganbench import __version__
from ganbench.harness.array_cache import VERSION, Cache
from ganbench.metrics import FeatureSet
from ganbench.plugin.interfaces import Dataset, Extractor


class CachedStatistics:
    """Statistics of real features alone, such as their covariance: read before scoring, and written after it."""

    def __init__(self, cache: Cache, features: FeatureSet) -> None:
        about = (VERSION, __version__, features.values.dtype, features.values.shape)
        digest = hashlib.sha256("\0".join(map(str, about)).encode())
        digest.update(np.ascontiguousarray(features.values).data)
        self.cache, self.features, self.key = cache, features, digest.hexdigest()
        known = cache.get(self.key) or {}
        self.known = set(known)
        features.import_arrays({name: tensor.numpy() for name, tensor in known.items()})

    def keep(self) -> None:
        """Write what is new."""
        found = self.features.export_arrays()
        if not found.keys() <= self.known:
            self.cache.put(self.key, {name: torch.from_numpy(array) for name, array in found.items()})


class ExtractorWrapper(Extractor):
    """An extractor that goes through another one: whatever it does not define is the other's."""

    def __init__(self, inner: Extractor) -> None:
        self.inner, self.dear, self.notes = inner, inner.dear, inner.notes

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # while it is copied or unpickled
            raise AttributeError(name)
        return getattr(self.inner, name)

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.inner.name

    def fit(self, dataset: Dataset, splits: dict[str, tuple[Any, Any]], content: str) -> Sequence[str]:
        return self.inner.fit(dataset, splits, content)

    @property
    def learns(self) -> bool:
        return self.inner.learns


class CachedExtractor(ExtractorWrapper):
    """An extractor that looks into the cache first.

    The key is the pixels, the hash of the extractor with its preprocessing, the hash of its code, and what else decides
    the last bits: torch's version and the kind of device.

    Args:
        source: hash of the code outside ganbench: whoever changes it may forget to give it another ``weights_hash``.
    """

    def __init__(self, inner: Extractor, cache: Cache, source: str) -> None:
        super().__init__(inner)
        self.cache, self.source = cache, source
        self.found = self.missed = 0

    def key(self, batch: Tensor) -> str:
        about = (
            VERSION,
            self.inner.weights_hash,
            self.source,
            torch.__version__,
            batch.device.type,
            batch.dtype,
            tuple(batch.shape),
        )
        digest = hashlib.sha256("\0".join(map(str, about)).encode())
        digest.update(batch.cpu().contiguous().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def __call__(self, batch: Tensor) -> tuple[Tensor, Tensor | None]:
        key = self.key(batch)
        known = self.cache.get(key)
        if known is None or "features" not in known:
            self.missed += len(batch)
            features, probabilities = self.inner(batch)
            kept = {"features": features.cpu()}
            if probabilities is not None:
                kept["probabilities"] = probabilities.cpu()
            self.cache.put(key, kept)
            return features, probabilities
        self.found += len(batch)
        return known["features"], known.get("probabilities")
