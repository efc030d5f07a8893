"""MNIST and its relatives: 28x28 grey images in ten classes, each published as four gzipped IDX files."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ganbench.datasets import DatasetError
from ganbench.datasets.published import Published
from ganbench.plugin.hookspecs import hookimpl
from ganbench.plugin.interfaces import plugin_dataclass

PREFIX = {"train": "train", "test": "t10k"}
COUNTS = {"train": 60_000, "test": 10_000}
TEST_LABELS = "t10k-labels-idx1-ubyte.gz"


@plugin_dataclass
class IdxDataset(Published):
    """28x28 grey images of ten classes: 60,000 for training and 10,000 held out.

    Attributes:
        counts: images in each split.
        unpacked: by file name as published, the SHA-256 of what it unpacks to, where it is known: such a
            file may also lie there unpacked, or packed by another gzip.
    """

    classes = 10
    counts: Mapping[str, int] = COUNTS
    unpacked: Mapping[str, str] = {}

    def names(self, file: str) -> tuple[str, ...]:
        return (file, file.removesuffix(".gz"))

    def owner(self, files: Mapping[str, Path]) -> str | None:
        """As ``Published.owner``: MNIST and its relatives have the same names; the smallest file tells them apart."""
        path = files[TEST_LABELS]
        try:
            values = read_idx(path, (self.counts["test"],))
        except DatasetError:
            return None  # it is damaged: whoever reads it says how
        found = {
            hashlib.sha256(data).hexdigest()
            for data in (path.read_bytes(), idx_header(values.shape) + values.tobytes())
        }
        others = (one for one in IDX if one.name != self.name)
        return next(
            (one.name for one in others if found & {one.sums[TEST_LABELS], one.unpacked.get(TEST_LABELS)}), None
        )

    def load(self, split: str) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[misc]
        """Images ``(n, 1, height, width)`` uint8 and labels ``(n,)`` int64.

        Raises:
            DatasetError: the files are nowhere, or not those of this dataset.
        """
        n, prefix = self.counts[split], PREFIX[split]
        files = self.find()
        images = self.read(files, f"{prefix}-images-idx3-ubyte.gz", (n, *self.shape[1:]))
        labels = self.read(files, f"{prefix}-labels-idx1-ubyte.gz", (n,))
        return images[:, None].copy(), labels.astype(np.int64)

    def read(self, files: Mapping[str, Path], file: str, shape: tuple[int, ...]) -> np.ndarray:
        values = read_idx(files[file], shape)
        if file in self.unpacked:
            content = hashlib.sha256(idx_header(shape))
            content.update(values.data)
            if content.hexdigest() == self.unpacked[file]:
                return values
        self.verify(file, files[file])
        return values


def idx_header(shape: tuple[int, ...]) -> bytes:
    """The first bytes of an IDX file that holds a uint8 array of ``shape``."""
    return bytes([0, 0, 8, len(shape)]) + np.array(shape, dtype=">u4").tobytes()


def read_idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The uint8 array of ``shape`` in an IDX file, gzipped if its name ends in ``.gz``.

    The layout is that of http://yann.lecun.com/exdb/mnist: two zero bytes, the type (8 is uint8), the number of
    dimensions, each size as a big-endian 32-bit integer, the values with the last index fastest.

    What the header declares is compared with ``shape`` before anything is allocated, and no more is
    unpacked than ``shape`` has room for.

    Raises:
        DatasetError: the file is not that array, whole and with nothing behind it.
    """
    magic = bytes([0, 0, 8, len(shape)])
    size = math.prod(shape)
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            head = file.read(4 + 4 * len(shape))
            if head[:4] != magic:
                raise DatasetError(f"{path} is not IDX: it begins with {head[:4].hex(' ')}, not {magic.hex(' ')}")
            declared = tuple(int(number) for number in np.frombuffer(head[4 : len(head) // 4 * 4], dtype=">u4"))
            if declared != shape:
                raise DatasetError(f"{path} declares the shape {declared}, expected {shape}")
            content = file.read(size + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    if len(content) != size:
        held = f"only {len(content):,}" if len(content) < size else "more"
        raise DatasetError(f"{path} declares {size:,} values and holds {held}")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


# SHA-256 of the files as published: the lists of torchvision's and TensorFlow's dataset packages agree on them.
# Those of Fashion-MNIST unpacked are of Debian's copy, which was packed again; those of MNIST are widely quoted.
IDX = [
    IdxDataset(
        name="mnist",
        shape=(1, 28, 28),
        budget_images=76_800,
        sums={
            "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
        unpacked={
            "train-images-idx3-ubyte.gz": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte.gz": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3-ubyte.gz": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte.gz": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        aliases=("MNIST/raw",),
    ),
    IdxDataset(
        name="fashion-mnist",
        shape=(1, 28, 28),
        budget_images=76_800,
        sums={
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
        unpacked={
            "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
        mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        aliases=("FashionMNIST/raw",),
        package="dataset-fashion-mnist",
    ),
    IdxDataset(
        name="kmnist",
        shape=(1, 28, 28),
        budget_images=76_800,
        sums={
            "train-images-idx3-ubyte.gz": "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            "train-labels-idx1-ubyte.gz": "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            "t10k-images-idx3-ubyte.gz": "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            "t10k-labels-idx1-ubyte.gz": "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        },
        mirrors=(
            "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
            "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        ),
        aliases=("KMNIST/raw",),
    ),
]


@hookimpl
def ganbench_datasets() -> list[IdxDataset]:
    return IDX
