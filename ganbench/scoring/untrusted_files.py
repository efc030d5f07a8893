"""Reads arrays and images from files that anybody may have made: with checks, in memory, running nothing in them."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ganbench.datasets.arrays import checked, npy, npz
from ganbench.datasets.folder import FORMATS, SUFFIXES, Unreadable
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

    with safe_open(path, framework="numpy") as file:  # it compares the header with the file's size
        return _chosen(path, list(file.keys()), file.get_tensor)


def _chosen(path: Path, names: list[str], take: Callable[[str], np.ndarray]) -> Arrays:
    labels = next((name for name in LABELS if name in names), None)
    others = [name for name in names if name != labels]
    samples = next((name for name in ARRAYS if name in names), others[0] if len(others) == 1 else None)
    if samples is None:
        raise UsageError(f"{path} holds {', '.join(names) or 'nothing'}: name the samples {' or '.join(ARRAYS)}")
    return take(samples), None if labels is None else take(labels)


def images_in_zip(path: Path) -> tuple[list[str], Callable[[str], bytes]]:
    """Names of the images in a zip archive in order, and what reads one; raises UsageError."""
    try:
        archive = zipfile.ZipFile(path)
        members = {info.filename: info for info in checked(path, archive) if _is_image(info.filename)}
    except UsageError:
        raise
    except Exception as reason:  # a damaged directory of an archive raises many kinds
        raise UsageError(f"{path} cannot be read: {str(reason) or type(reason).__name__}") from None

    def take(name: str) -> bytes:
        try:
            with archive.open(members[name]) as file:
                data = file.read(MOST_MEMBER + 1)
        except Exception as reason:  # zip and zlib raise many kinds
            raise Unreadable(str(reason) or type(reason).__name__) from None
        if len(data) > MOST_MEMBER:
            raise Unreadable(f"more than {MOST_MEMBER:,} bytes")
        return data

    return sorted(members), take


def _is_image(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return name.lower().endswith(SUFFIXES) and not any(part.startswith((".", "__MACOSX")) for part in parts)


def read_image(source: Any, size: int | None) -> np.ndarray:
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
