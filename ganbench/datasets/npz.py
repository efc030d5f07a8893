"""``npz:PATH``: images, and labels if there are, in a NumPy archive."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from ganbench.datasets import DatasetError
from ganbench.datasets.arrays import channel_axis, npz
from ganbench.datasets.user_images import Collection, Options, Pictures, side_of, square
from ganbench.plugin.hookspecs import hookimpl
from ganbench.plugin.interfaces import Dataset

IMAGES = ("images", "x", "arr_0")
LABELS = ("labels", "y", "arr_1")


class Archive(Collection):
    """An array of uint8 images, ``(n, h, w)``, ``(n, h, w, c)`` or ``(n, c, h, w)`` with 1 or 3 channels.

    It is named ``images``, ``x`` or ``arr_0``; integers named ``labels``, ``y`` or ``arr_1`` are classes.
    """

    name = "npz"

    def fingerprint(self, path: Path) -> Any:
        try:
            with open(path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as reason:
            raise DatasetError(f"{path} cannot be read: {reason.strerror}") from None

    def read(self, path: Path, options: Options) -> Pictures:
        from PIL import Image

        arrays = read_arrays(path)
        images = channels_last(path, arrays[0])
        labels, classes = (None, None) if options.unlabelled else classes_of(path, arrays[1], len(images))
        side = side_of({(images.shape[2], images.shape[1])}, options)
        squares = [square(Image.fromarray(image), side, options.grey) for image in images]
        return Pictures(np.stack(squares), labels, classes)


def read_arrays(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The images and the labels of an archive; arrays of Python objects, which would be unpickled, are refused.

    Raises:
        DatasetError: it cannot be read, or has no images.
    """
    try:
        with npz(path) as (known, take):
            images, labels = (next((n for n in names if n in known), None) for names in (IMAGES, LABELS))
            if images is None:
                has = ", ".join(known) or "nothing"
                raise DatasetError(f"{path} has no array named {', '.join(IMAGES)}; it holds {has}")
            return take(images), None if labels is None else take(labels)
    except DatasetError:
        raise
    except Exception as reason:  # zip, zlib and NumPy's reader of headers raise many kinds
        raise DatasetError(f"{path} cannot be read: {str(reason) or type(reason).__name__}") from None


def channels_last(path: Path, images: np.ndarray) -> np.ndarray:
    """Images ``(n, h, w, 3)`` or ``(n, h, w)`` from any of the accepted layouts."""
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape:
        raise DatasetError(
            f"{path} holds images of {images.dtype} {images.shape}; expected uint8 of shape (n, h, w), (n, h, w, c) "
            "or (n, c, h, w)"
        )
    try:
        axis = channel_axis(images.shape)
    except ValueError as reason:
        raise DatasetError(f"{path}: {reason}") from None
    images = images.transpose(0, 2, 3, 1) if axis == 1 else images
    return np.ascontiguousarray(images[..., 0] if images.shape[-1] == 1 and images.ndim == 4 else images)


def classes_of(path: Path, labels: np.ndarray | None, n: int) -> tuple[np.ndarray | None, list[str] | None]:
    """Class numbers and names; (None, None) where there is a single class."""
    if labels is None:
        return None, None
    labels = labels.reshape(len(labels)) if labels.shape == (n, 1) else labels
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise DatasetError(f"{path} holds labels of {labels.dtype} {labels.shape}; expected {n:,} integers")
    values, numbers = np.unique(labels, return_inverse=True)
    if len(values) < 2:
        return None, None
    return numbers.astype(np.int64), [str(value) for value in values]


@hookimpl
def ganbench_datasets() -> list[Dataset]:
    return [Archive()]
