"""CIFAR-10 from its binary version, which is read without unpickling anything.

Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images", chapter 3. The version "for
Python" is a set of pickles, and reading a pickle can run code; it is not read here.
"""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path

import numpy as np

from ganbench.datasets import DatasetError
from ganbench.datasets.published import Published
from ganbench.plugin.hookspecs import hookimpl
from ganbench.plugin.interfaces import Dataset, plugin_dataclass

ARCHIVE = "cifar-10-binary.tar.gz"
FOLDER = "cifar-10-batches-bin"
BATCHES = {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)}


@plugin_dataclass
class Cifar(Published):
    """Photographs of ten kinds of object, 32x32 in colour: 50,000 for training and 10,000 held out.

    Attributes:
        batch: images in each file of the archive.
    """

    shape = (3, 32, 32)
    classes = 10
    batch: int = 10_000

    def load(self, split: str) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[misc]
        """Images ``(n, 3, 32, 32)`` uint8 and labels ``(n,)`` int64.

        Raises:
            DatasetError: the archive is nowhere, not the published one, or not what it should hold.
        """
        names = BATCHES[split]
        path = self.find()[ARCHIVE]
        self.verify(ARCHIVE, path)
        size = self.batch * (1 + int(np.prod(self.shape)))
        content = read_members(path, [f"{FOLDER}/{name}" for name in names], size)
        # A record is its label, then the image: planes red, green, blue, each row by row.
        records = np.frombuffer(content, dtype=np.uint8).reshape(len(names) * self.batch, -1)
        labels = records[:, 0].astype(np.int64)
        if labels.max() >= self.classes:
            raise DatasetError(f"{path}: a label is {labels.max()}, expected 0 to {self.classes - 1}")
        return records[:, 1:].reshape(-1, *self.shape).copy(), labels


def read_members(path: Path, names: list[str], size: int) -> bytes:
    """Read files of ``size`` bytes from a gzipped tar archive and join them.

    Nothing is written to disk. Links, and files of another size, are refused before they are read.

    Raises:
        DatasetError: a member is missing, repeated, not a plain file, of another size, or cannot be read.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                if member.name not in names:
                    continue
                if not member.isreg() or member.size != size or member.name in found:
                    raise DatasetError(f"{path}: {member.name} is not the one plain file of {size:,} bytes expected")
                stream = archive.extractfile(member)
                found[member.name] = stream.read(size) if stream else b""
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    for name in names:
        if len(found.get(name, b"")) != size:
            raise DatasetError(f"{path} does not hold {name} with {size:,} bytes")
    return b"".join(found[name] for name in names)


@hookimpl
def ganbench_datasets() -> list[Dataset]:
    return [
        Cifar(
            name="cifar10",
            budget_images=128_000,
            sums={ARCHIVE: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
            mirrors=("https://www.cs.toronto.edu/~kriz/",),
        )
    ]
