"""The cache of users' images after decoding, resizing and splitting; each is named after a hash of its content.

``folder-1a2b3c4d`` is a dataset of its own: a process that trains on it needs neither the folder nor
the time to decode it, and a folder that is moved, or whose files are renamed, keeps its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct, to_builtins

from ganbench.datasets import DatasetError
from ganbench.datasets.digits import split_order, stratified_sizes
from ganbench.plugin.interfaces import REQUIRED, Dataset, plugin_dataclass
from ganbench.utils import canonical_json
from ganbench.utils.files import cache_folder, replacing
from ganbench.utils.names import check_name
from ganbench.utils.sealed_json import seal, unseal
from ganbench.utils.typed_json import Text, convert

SPLITS = ("train", "test")
FEWEST = 10  # images of a split: scores by nearest neighbours need more than five
BUDGET_IMAGES = 64_000
VERSION = 4  # rises when the same images would be prepared in another way


class Sums(Struct, frozen=True):
    """The SHA-256 of each split."""

    train: Text
    test: Text


class About(Struct, frozen=True):
    """What stands in a file of prepared images beside them, sealed.

    Attributes:
        shape: of one image; ``classes``: how many, None for images without.
    """

    sums: Sums
    shape: Annotated[tuple[Annotated[int, Meta(ge=1, le=4096)], ...], Meta(max_length=3)]
    classes: Annotated[int, Meta(ge=2, le=10**6)] | None = None


class Remembered(Struct, frozen=True):
    """What images of a fingerprint became, and what is to be said of them."""

    name: str
    notes: Annotated[list[Text], Meta(max_length=1000)]

    def __post_init__(self) -> None:
        check_name(self.name)


@plugin_dataclass
class Prepared(Dataset):
    """A dataset of a user's images that were resized and split earlier, from the cache folder.

    Attributes:
        path: the file in the cache folder.
        sums: of each split, the SHA-256 that ``digest`` gives.
    """

    path: Path = REQUIRED
    sums: Sums = REQUIRED

    def load(self, split: str) -> tuple[np.ndarray, np.ndarray | None]:  # type: ignore[misc]
        """Images ``(n, *shape)`` uint8, and class numbers ``(n,)`` int64 where the user's images have classes.

        Raises:
            DatasetError: the file in the cache folder was changed.
        """
        from safetensors import safe_open

        try:
            with safe_open(self.path, framework="numpy") as file:
                images = file.get_tensor(f"{split}.images")
                labels = file.get_tensor(f"{split}.labels") if self.classes else None
            sound = (
                digest(images, labels) == getattr(self.sums, split)
                and (images.dtype, images.shape[1:]) == (np.uint8, self.shape)
                and (
                    labels is None
                    or (labels.dtype == np.int64 and 0 <= labels.min() <= labels.max() < (self.classes or 0))
                )
            )
        except Exception:  # the reader raises many kinds
            sound = False
        if not sound:
            raise DatasetError(
                f"{self.path} is damaged: remove it, and ask for the images by their folder or file again"
            )
        return images, labels


def digest(images: np.ndarray, labels: np.ndarray | None) -> str:
    """Hex SHA-256 of the images and labels of one split."""
    found = hashlib.sha256(repr((images.shape, labels is not None)).encode())
    for part in (images, labels):
        if part is not None:
            found.update(np.ascontiguousarray(part).data)
    return found.hexdigest()


def split(
    images: np.ndarray, labels: np.ndarray | None, held_out: float, seed: int
) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Split images into training and held-out ones; ``held_out`` is the share of ``test``, the same in each class.

    Which images are held out follows from their pixels and ``seed``: not from names, nor from their order.

    Raises:
        DatasetError: there are too few images.
    """
    n = len(images)
    if n < 2 * FEWEST:
        raise DatasetError(f"there are {n} images; at least {2 * FEWEST} are needed, some of which are held out")
    classes = np.zeros(n, dtype=np.int64) if labels is None else labels
    total = min(max(round(n * held_out), FEWEST), n - FEWEST)
    order = split_order(images, f"user/split/{seed}/")
    chosen = np.zeros(n, dtype=bool)
    for label, size in enumerate(stratified_sizes(np.bincount(classes), total)):
        chosen[order[classes[order] == label][:size]] = True
    rows = {"train": order[~chosen[order]], "test": order[chosen[order]]}
    return {
        name: (np.ascontiguousarray(images[index]), None if labels is None else labels[index])
        for name, index in rows.items()
    }


def folder() -> Path:
    return cache_folder("prepared")


def keep(family: str, splits: Mapping[str, tuple[np.ndarray, np.ndarray | None]], classes: int | None) -> str:
    """Write prepared images into the cache folder; return their name."""
    from safetensors.numpy import save_file

    arrays = {f"{name}.images": images for name, (images, _) in splits.items()}
    arrays |= {f"{name}.labels": labels for name, (_, labels) in splits.items() if labels is not None}
    sums = Sums(*(digest(*splits[name]) for name in SPLITS))
    name = f"{family}-{_digits(sums)}"
    about = seal(to_builtins(About(sums, splits["train"][0].shape[1:], classes)))
    _write(folder() / f"{name}.safetensors", lambda path: save_file(arrays, path, {"about": about}))
    return name


def _digits(sums: Sums) -> str:
    """The hash that the name of prepared images ends in."""
    return hashlib.sha256(f"{sums.train}{sums.test}".encode()).hexdigest()[:8]


def remember(fingerprint: str, name: str, notes: Sequence[str]) -> None:
    """Remember under which name the images of a fingerprint are kept, and what to tell the user about them."""
    noted = canonical_json.dumps(to_builtins(Remembered(name, list(notes))))
    _write(folder() / f"{fingerprint}.json", lambda path: path.write_text(noted))


def known(fingerprint: str) -> Prepared | None:
    """The prepared images that ``remember`` noted, or None."""
    try:
        noted = convert(canonical_json.loads((folder() / f"{fingerprint}.json").read_bytes()), Remembered)
    except (OSError, ValueError):
        return None
    found = recall(noted.name)
    if found is not None:
        found.notes = noted.notes
    return found


def recall(name: str) -> Prepared | None:
    """The prepared images of that name, or None where this machine has none."""
    from safetensors import SafetensorError, safe_open

    path = folder() / f"{name}.safetensors"
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            about = convert(unseal(file.metadata()["about"].encode()), About)
        if not name.endswith(f"-{_digits(about.sums)}"):
            raise ValueError("it is not what its name says")
    except (SafetensorError, OSError, TypeError, KeyError, ValueError) as reason:
        raise DatasetError(f"{path} is damaged ({reason}): remove it") from None
    return Prepared(
        name=name,
        shape=about.shape,
        classes=about.classes,
        budget_images=BUDGET_IMAGES,
        path=path,
        sums=about.sums,
    )


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file so that it is there whole or not at all."""
    from safetensors import SafetensorError

    try:
        with replacing(path) as temporary:
            write(temporary)
    except (OSError, SafetensorError) as reason:
        raise DatasetError(f"cannot write {path}: {reason}") from reason
