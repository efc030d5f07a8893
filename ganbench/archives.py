"""Arrays and images in files that anybody may have made: read with checks, in memory, and never run."""

from __future__ import annotations

import stat
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ganbench.datasets.folder import FORMATS, SUFFIXES, Unreadable
from ganbench.errors import UsageError

ARRAYS = ("images", "samples", "x", "arr_0")  # names under which samples are looked for
LABELS = ("labels", "y", "arr_1")
MOST_MEMBER = 1 << 28  # bytes of one image in an archive
FREE_RATIO = 1 << 26  # bytes up to which a member may be packed as tightly as it likes
MOST_RATIO = 200  # deflate reaches 1,000 on zeros; arrays of images stay far below

Arrays = tuple[np.ndarray, np.ndarray | None]


def read_arrays(path: Path) -> Arrays:
    """Samples, and labels or None, of a .npz, .npy or .safetensors file; raises UsageError."""
    readers = {".npz": _npz, ".npy": _npy, ".safetensors": _safetensors}
    try:
        return readers[path.suffix.lower()](path)
    except UsageError:
        raise
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error, NotImplementedError) as reason:
        raise UsageError(f"{path} cannot be read: {str(reason) or type(reason).__name__}") from None


def _npy(path: Path) -> Arrays:
    return np.load(path, mmap_mode="r", allow_pickle=False), None


def _npz(path: Path) -> Arrays:
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in checked(path, archive)}

        def take(name: str) -> np.ndarray:
            with archive.open(members[name]) as file:
                version = np.lib.format.read_magic(file)
                header = (
                    np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = header(file)
            if dtype.hasobject or dtype.itemsize * int(np.prod(shape, dtype=object)) > members[name].file_size:
                raise UsageError(f"{path}: {name} holds objects, or is shorter than it says")
            with archive.open(members[name]) as file:
                return np.lib.format.read_array(file, allow_pickle=False)

        return _chosen(path, list(members), take)


def _safetensors(path: Path) -> Arrays:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:  # it compares the header with the file's size
            return _chosen(path, list(file.keys()), file.get_tensor)
    except SafetensorError as reason:
        raise UsageError(f"{path} cannot be read: {reason}") from None


def _chosen(path: Path, names: list[str], take: Callable[[str], np.ndarray]) -> Arrays:
    labels = next((name for name in LABELS if name in names), None)
    others = [name for name in names if name != labels]
    samples = next((name for name in ARRAYS if name in names), others[0] if len(others) == 1 else None)
    if samples is None:
        raise UsageError(f"{path} holds {', '.join(names) or 'nothing'}: name the samples {' or '.join(ARRAYS)}")
    return take(samples), None if labels is None else take(labels)


def checked(path: Path, archive: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    """The files of an archive; raises UsageError if one is not what an archive of samples holds."""
    for info in archive.infolist():
        place = PurePosixPath(info.filename)
        if place.is_absolute() or ".." in place.parts or "\\" in info.filename or ":" in info.filename:
            raise UsageError(f"{path} holds {info.filename!r}: a path that leads out of the archive")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise UsageError(f"{path} holds {info.filename!r}: a link")
        if info.flag_bits & 1:
            raise UsageError(f"{path} holds {info.filename!r}: it is encrypted")
        if info.file_size > FREE_RATIO and info.file_size > MOST_RATIO * max(info.compress_size, 1):
            raise UsageError(f"{path} holds {info.filename!r}, which unpacks to {info.file_size:,} bytes: refused")
        if not info.is_dir():
            yield info


def images_in(path: Path) -> tuple[list[str], Callable[[str], bytes]]:
    """Names of the images in a zip archive in order, and what reads one; raises UsageError."""
    try:
        archive = zipfile.ZipFile(path)
        members = {info.filename: info for info in checked(path, archive) if _is_image(info.filename)}
    except (OSError, zipfile.BadZipFile) as reason:
        raise UsageError(f"{path} cannot be read: {reason}") from None

    def take(name: str) -> bytes:
        try:
            with archive.open(members[name]) as file:
                data = file.read(MOST_MEMBER + 1)
        except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as reason:
            raise Unreadable(str(reason)) from None
        if len(data) > MOST_MEMBER:
            raise Unreadable(f"more than {MOST_MEMBER:,} bytes")
        return data

    return sorted(members), take


def _is_image(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return name.lower().endswith(SUFFIXES) and not any(part.startswith((".", "__MACOSX")) for part in parts)


def pixels(source: Any, size: int | None) -> np.ndarray:
    """An image ``(height, width, 1 or 3)`` in uint8, from a path or a binary file, as torch-fidelity reads it.

    Grey stays one channel; anything else becomes RGB as Pillow does it, which drops an alpha channel.

    Args:
        size: side to which its middle square is resized, with anti-aliasing; None leaves it as it is.

    Raises:
        Unreadable: it is no image of a known format, or has 16 bits a channel.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as file:
                image: Image.Image = file
                if image.mode.startswith(("I", "F")):
                    raise Unreadable("more than 8 bits a channel")
                image = image.convert("L" if image.mode in ("1", "L") else "RGB")
                if size:
                    image = ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)
                found = np.asarray(image)
    except Unreadable:
        raise
    except Image.UnidentifiedImageError:
        raise Unreadable("not an image of a known format") from None
    except Exception as reason:  # Pillow's decoders raise many kinds
        raise Unreadable((str(reason) or type(reason).__name__).partition("\n")[0]) from None
    return found if found.ndim == 3 else found[..., None]
