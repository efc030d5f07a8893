"""Read NumPy arrays from .npz and .npy files that may be damaged or malicious: checked first, never unpickled."""

from __future__ import annotations

import contextlib
import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from ganbench.datasets import DatasetError
from ganbench.utils.memory import installed

_DRIVE = re.compile(r"[A-Za-z]:[\\/]")

Take = Callable[[str], np.ndarray]


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """Which axis of images of that shape has the channels, 1 or 3 of them: the second or the last; None without one.

    Raises ValueError where it can be neither, or either.
    """
    if len(shape) == 3:
        return None
    axes = [axis for axis in (1, 3) if shape[axis] in (1, 3)] if len(shape) == 4 else []
    if len(axes) == 2:
        raise ValueError(f"images of shape {shape}: channels could be first or last")
    if not axes:
        raise ValueError(
            f"expected images (n, h, w), (n, h, w, c) or (n, c, h, w), got {shape}; of channels are expected 1 or 3"
        )
    return axes[0]


def most_held() -> int:
    """Bytes that one array may hold: half of this machine's memory, since what is scored needs the other half."""
    return installed() // 2


def refuse_too_large(what: str, size: int, remedy: str) -> None:
    """Raise DatasetError where ``size`` bytes are more than ``most_held``; ``remedy`` is what makes them fewer."""
    if size > most_held():
        raise DatasetError(
            f"{what} take {size:,} bytes in memory, more than {most_held():,}, the half of what this machine has: "
            f"give {remedy}, or use a machine with more"
        )


def checked(path: Path, archive: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    """The files of a zip archive; raises DatasetError for links, encryption, paths outside, and overlaps.

    How tightly a member is packed says nothing: the samples of a collapsed generator pack 1,000 to 1. Who reads one
    limits the bytes that it holds.
    """
    end = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        if info.header_offset < end:  # members that lie upon each other unpack to more than any archive holds
            raise DatasetError(f"{path} holds {info.filename!r}, which shares its bytes with another member: refused")
        end = info.header_offset + info.compress_size
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")  # as archives that were made on Windows may have it
        if name.startswith("/") or ".." in PurePosixPath(name).parts or _DRIVE.match(info.filename):
            raise DatasetError(
                f"{path} holds {info.filename!r}: a path that leads out of the archive; pack its folder again"
            )
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DatasetError(f"{path} holds {info.filename!r}: a link or a device")
        if info.flag_bits & 1:
            raise DatasetError(f"{path} holds {info.filename!r}: it is encrypted")
        if not info.is_dir():
            yield info


@contextlib.contextmanager
def npz(path: Path) -> Iterator[tuple[list[str], Take]]:
    """Open a .npz archive: the names of its arrays, and a function that reads one.

    Raises DatasetError, or what the readers of zip and NumPy raise.
    """
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in checked(path, archive)}

        def take(name: str) -> np.ndarray:
            refuse_too_large(
                f"{path}: the array {name}",
                members[name].file_size,
                "fewer samples, or save them with numpy.save as .npy, of which score --n reads a part",
            )
            with archive.open(members[name]) as file:
                version = np.lib.format.read_magic(file)
                header = (
                    np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = header(file)
            if dtype.hasobject or dtype.itemsize * int(np.prod(shape, dtype=object)) > members[name].file_size:
                raise DatasetError(f"{path}: {name} holds objects, or is shorter than it says")
            with archive.open(members[name]) as file:
                return np.lib.format.read_array(file, allow_pickle=False)

        yield list(members), take


def npy(path: Path) -> np.ndarray:
    """The array in a .npy file, memory-mapped; raises what NumPy's reader raises."""
    return np.lib.format.open_memmap(path, mode="r")
