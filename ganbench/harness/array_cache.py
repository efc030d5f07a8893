"""Keeps arrays on disk under the hash of what decides them, such as the features of a dataset's real images.

A sweep's first process computes the features of the real images that samples are compared with, and what scores
derive from them alone (covariance, its factor, radii); every trial reads them. A file that is damaged, or stands under
the name of another, is computed anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ganbench.discovery.source_hash import source_hash
from ganbench.harness import environment
from ganbench.plugin.interfaces import Extractor
from ganbench.utils import canonical_json
from ganbench.utils.files import cache_folder, replacing

VERSION = 2  # rises when the same key would hold other values
DIGEST = 64  # hex digits of the SHA-256 that a file begins with
MOST_REAL = 4_000_000_000  # bytes of real images' features that are kept


class Cache:
    """Tensors by the hash of what decides them, each file with the hash of both in front.

    Args:
        root: their folder.
        most: bytes of all files; those that were not read for longest go first. None: any number.
    """

    def __init__(self, root: Path, most: int | None = None) -> None:
        self.root, self.most = root, most

    def get(self, key: str) -> dict[str, Tensor] | None:
        """What was put under ``key``; None where it is missing or a bit of it differs."""
        path = self.root / key
        try:
            data = path.read_bytes()
            if data[:DIGEST] != _digest(key, data[DIGEST:]):
                return None
            found: dict[str, Tensor] = load(data[DIGEST:])
        except (OSError, SafetensorError):
            return None
        if self.most is not None:
            with contextlib.suppress(OSError):
                os.utime(path)
        return found

    def put(self, key: str, tensors: dict[str, Tensor]) -> None:
        """Keep tensors, whole or not at all; a disk without room costs nothing but the cache."""
        content = save({name: value.contiguous() for name, value in tensors.items()})
        if self.most is not None and len(content) > self.most:
            return
        try:
            with replacing(self.root / key) as temporary:
                temporary.write_bytes(_digest(key, content) + content)
        except OSError:
            return
        if self.most is not None:
            self._shrink(self.most)

    def _shrink(self, most: int) -> None:
        """Remove files until the others have so few bytes; another process may do it too."""
        with contextlib.suppress(OSError):
            files = [(file.stat(), file.path) for file in os.scandir(self.root)]
            total = sum(about.st_size for about, _ in files)
            for about, path in sorted(files, key=lambda file: file[0].st_mtime):
                if total <= most:
                    break
                os.unlink(path)
                total -= about.st_size


def _digest(key: str, content: bytes) -> bytes:
    """SHA-256 of a file's key and content: of the key too, so that a file renamed to another key is not believed."""
    return hashlib.sha256(key.encode() + content).hexdigest().encode()


class RealCache:
    """A cache of the features of a dataset's real images by one extractor, as this process computes them.

    Whatever decides the last bit is in the key: the images, the extractor and its code, and the environment, which
    has the versions of libraries, the device, the processor and the threads.
    """

    def __init__(self, extractor: Extractor, distribution: str, device: torch.device) -> None:
        self.cache = Cache(cache_folder("real"), MOST_REAL)
        described = environment.describe(device, torch.get_num_threads(), "ganbench")
        self.about = [VERSION, canonical_json.sha256(described), source_hash(type(extractor), distribution)]

    def key(self, *content: object) -> str:
        """The key of features that ``content`` decides too, beside what the cache knows of."""
        return hashlib.sha256("\0".join(map(str, (*self.about, *content))).encode()).hexdigest()


def real_cache(extractor: Extractor, distribution: str, device: torch.device) -> RealCache | None:
    """The cache of an extractor's features; None for one from elsewhere: what it reads beside its code is not known."""
    own = distribution == "ganbench" and type(extractor).__module__.startswith("ganbench.")
    return RealCache(extractor, distribution, device) if own else None
