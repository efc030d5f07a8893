"""Reads arrays and images from files that anybody may have made: with checks, in memory, running nothing in them."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ganbench.datasets.arrays import checked, npy, npz, refuse_too_large
from ganbench.datasets.pictures import (
    DECODERS,
    FIRST_BYTES,
    Listing,
    Unreadable,
    has_more_frames,
    listing,
    opened,
    reads_otherwise,
    resized,
)
from ganbench.utils.errors import UsageError

ARRAYS = ("images", "samples", "x", "arr_0")  # names under which samples are looked for
LABELS = ("labels", "y", "arr_1")
MOST_MEMBER = 1 << 28  # bytes of one image in an archive

Arrays = tuple[np.ndarray, np.ndarray | None]


def read_arrays(path: Path) -> Arrays:
    """Samples, and labels or None, of a .npz, .npy or .safetensors file; raises UsageError."""
    readers = {".npz": _npz, ".npy": _npy, ".safetensors": _safetensors}
    try:
        return readers[path.suffix.lower()](path)
    except UsageError:
        raise
    except Exception as reason:  # readers of archives and of headers raise many kinds
        raise UsageError(f"{path} cannot be read: {str(reason) or type(reason).__name__}") from None


def _npy(path: Path) -> Arrays:
    return npy(path), None


def _npz(path: Path) -> Arrays:
    with npz(path) as (names, take):
        return _chosen(path, names, take)


def _safetensors(path: Path) -> Arrays:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:  # it compares the header with the file's size

        def take(name: str) -> np.ndarray:
            refuse_too_large(f"{path}: the array {name}", path.stat().st_size, "fewer samples")
            tensor = file.get_tensor(name)
            # NumPy has no bfloat16 and no floating point of 8 bits; float32 holds every value of theirs.
            return (tensor.float() if tensor.dtype.is_floating_point and tensor.dtype.itemsize < 4 else tensor).numpy()

        return _chosen(path, list(file.keys()), take)


def _chosen(path: Path, names: list[str], take: Callable[[str], np.ndarray]) -> Arrays:
    labels = next((name for name in LABELS if name in names), None)
    others = [name for name in names if name != labels]
    samples = next((name for name in ARRAYS if name in names), others[0] if len(others) == 1 else None)
    if samples is None:
        raise UsageError(f"{path} holds {', '.join(names) or 'nothing'}: name the samples {' or '.join(ARRAYS)}")
    return take(samples), None if labels is None else take(labels)


def images_in_zip(path: Path) -> tuple[Listing, Callable[[str], bytes]]:
    """The images in a zip archive in order, and what reads one; raises UsageError."""
    members: dict[str, zipfile.ZipInfo] = {}
    replaced: list[str] = []
    try:
        archive = zipfile.ZipFile(path)
        for info in checked(path, archive):
            name = PurePosixPath(info.filename.replace("\\", "/")).as_posix()
            replaced += [name] if name in members else []
            members[name] = info  # the last of one name stands, as it does once the archive is unpacked

        def first_bytes(name: str) -> bytes:
            with contextlib.suppress(Exception), archive.open(members[name]) as file:
                return file.read(FIRST_BYTES)
            return b""  # it is damaged

        found = listing(members, first_bytes)
    except UsageError:
        raise
    except Exception as reason:  # a damaged directory of an archive raises many kinds
        raise UsageError(f"{path} cannot be read: {str(reason) or type(reason).__name__}") from None
    if replaced:
        found.left_out["files replaced by a later one of the same name"] = replaced

    def take(name: str) -> bytes:
        try:
            with archive.open(members[name]) as file:
                data = file.read(MOST_MEMBER + 1)
        except Exception as reason:  # zip and zlib raise many kinds
            raise Unreadable(str(reason) or type(reason).__name__) from None
        if len(data) > MOST_MEMBER:
            raise Unreadable(f"more than {MOST_MEMBER:,} bytes")
        return data

    return found, take


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        pixels: ``(height, width, 1 or 3)`` uint8. Grey stays one channel.
        more_frames: it has several frames or pages, of which this is the first.
        otherwise: another of ``DECODERS`` gives other pixels.
    """

    pixels: np.ndarray
    more_frames: bool = False
    otherwise: bool = False


def read_image(source: Any, size: int | None, how: str = "shown") -> Picture:
    """A picture from a path or a binary file.

    Args:
        size: side to which its middle square is resized, with anti-aliasing; None leaves it as it is.
        how: one of ``DECODERS``.

    Raises:
        Unreadable: it is no image of a known format.
    """
    with opened(source) as file:
        image = DECODERS[how](file)
        pixels = np.asarray(resized(image, size) if size else image)
        return Picture(pixels if pixels.ndim == 3 else pixels[..., None], has_more_frames(file), reads_otherwise(file))
