"""Reading IDX, the format of MNIST and its relatives, from files that nobody vouches for."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from ganbench.datasets import DatasetError


def header(shape: tuple[int, ...]) -> bytes:
    """What an IDX file of a uint8 array of ``shape`` begins with."""
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
            header = file.read(4 + 4 * len(shape))
            if header[:4] != magic:
                raise DatasetError(f"{path} is not IDX: it begins with {header[:4].hex(' ')}, not {magic.hex(' ')}")
            declared = tuple(int(number) for number in np.frombuffer(header[4 : len(header) // 4 * 4], dtype=">u4"))
            if declared != shape:
                raise DatasetError(f"{path} declares the shape {declared}, expected {shape}")
            content = file.read(size + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    if len(content) != size:
        held = f"only {len(content):,}" if len(content) < size else "more"
        raise DatasetError(f"{path} declares {size:,} values and holds {held}")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)
