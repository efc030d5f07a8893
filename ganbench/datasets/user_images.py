"""The base class of ``folder:PATH`` and ``npz:PATH``, which make a dataset of a user's own images.

Options stand behind the path, each after an ``@``: ``folder:photos@size=64@grey``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganbench.datasets import DatasetError, prepared
from ganbench.datasets.pictures import NAMED, resized, shown
from ganbench.datasets.prepared import Prepared
from ganbench.plugin.interfaces import Dataset
from ganbench.utils.withheld import may_do

SIDES = range(8, 257)
OWN_SIDES = range(8, 65)  # images that all have one of these sizes keep it
USUAL_SIDE = 32
GREY = 1  # levels by which the channels of a grey image may differ: lossy WebP does not keep them equal
_OPTION = re.compile(r"@([a-z-]+)(?:=([^@/\\]*))?$")


@dataclass(frozen=True)
class Options:
    """The options behind a path, ``@size=64@grey``.

    Attributes:
        size: side in pixels; None for the images' own where they share one, else 32.
        grey: one channel whatever the images are.
        held_out: share of the images that is held out; seed: which ones.
        unlabelled: sub-folders, or an array of labels, are no classes.
        skip_unreadable: leave out what cannot be read.
    """

    size: int | None = None
    grey: bool = False
    held_out: float = 0.2
    seed: int = 0
    unlabelled: bool = False
    skip_unreadable: bool = False


@dataclass
class Pictures:
    """Images as they were read, RGB ``(n, side, side, 3)``, class numbers and names if any, notes for the user."""

    images: np.ndarray
    labels: np.ndarray | None = None
    classes: Sequence[str] | None = None
    notes: Sequence[str] = ()


class Collection(Dataset):
    """Makes datasets of users' images: asked for as ``<name>:PATH``, afterwards known as ``<name>-<hash8>``."""

    shape = ("any size",)  # type: ignore[assignment]
    budget_images = prepared.BUDGET_IMAGES

    def fingerprint(self, path: Path) -> Any:
        """JSON values that differ wherever the images at ``path`` do: hashes of their bytes, no times or sizes."""
        raise NotImplementedError

    def read(self, path: Path, options: Options) -> Pictures:
        """The images at ``path``; raises DatasetError."""
        raise NotImplementedError

    def load(self, split: str) -> tuple[np.ndarray, np.ndarray | None]:
        raise DatasetError(f"{self.name} needs a path: {self.name}:PATH")

    def member(self, name: str) -> Prepared | None:
        """The dataset of that name, if it is one of these.

        Raises:
            DatasetError: there is nothing at the path, or it cannot be used. The message says what to do.
        """
        if name.startswith(f"{self.name}:"):
            return self.at(name.removeprefix(f"{self.name}:"))
        if re.fullmatch(rf"{re.escape(self.name)}-[0-9a-f]{{8}}", name):
            if found := prepared.recall(name):
                return found
            raise DatasetError(f"{name} is not in this machine's cache folder; ask for {self.name}:PATH instead")
        return None

    def at(self, text: str) -> Prepared:
        """The dataset of a path with its options, prepared now or recalled from an earlier time."""
        try:
            where, options = parse(text)
            try:
                path = Path(where).expanduser().absolute()
            except RuntimeError as reason:
                raise DatasetError(str(reason)) from None
            content = [prepared.VERSION, self.name, asdict(options), self.fingerprint(path)]
            fingerprint = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]
            found = prepared.known(fingerprint)
            if found is None:
                may_do("read and resize its images")
                images = self.read(path, options)
                if self.fingerprint(path) != content[-1]:
                    raise DatasetError("its files changed while they were read; ask again when nothing writes to them")
                self.prepare(fingerprint, images, options)
                found = prepared.known(fingerprint)
        except (DatasetError, OSError) as reason:
            raise DatasetError(f"{self.name}:{text}: {reason}") from None
        if found is None:
            raise DatasetError(f"{self.name}:{text}: it vanished from the cache folder {prepared.folder()}; try again")
        found.notes = [f"{self.name}:{text} is {found.name}: {found.notes[0]}", *found.notes[1:]]
        return found

    def prepare(self, fingerprint: str, found: Pictures, options: Options) -> None:
        """Put images into their final form and into the cache folder."""
        images = found.images
        if (images.max(axis=3) - images.min(axis=3)).max() <= GREY:
            images = images[..., :1]
        images = images.transpose(0, 3, 1, 2)
        splits = prepared.split(images, found.labels, options.held_out, options.seed)
        train, test = (len(splits[name][0]) for name in prepared.SPLITS)
        size = "x".join(map(str, images.shape[1:]))
        about = f"{train:,} training and {test:,} held-out images of {size}, {_in_words(found.classes)}"
        name = prepared.keep(self.name, splits, len(found.classes) if found.classes else None)
        prepared.remember(fingerprint, name, [about, *found.notes])


def parse(text: str) -> tuple[str, Options]:
    """Split a user's text into the path and the options behind it; raises DatasetError."""
    given: dict[str, Any] = {}
    defaults = asdict(Options())
    while match := _OPTION.search(text):
        key, value = match[1].replace("-", "_"), match[2]
        text = text[: match.start()]
        if key not in defaults:
            names = ", ".join(f"@{name.replace('_', '-')}" for name in defaults)
            raise DatasetError(
                f"there is no option @{match[1]}; there are {names}. If it belongs to the path, write a / behind it"
            )
        given[key] = _value(match[1], value, defaults[key])
    if not text:
        raise DatasetError("a path is missing behind the colon")
    return text, Options(**given)


def _value(name: str, text: str | None, default: Any) -> Any:
    if isinstance(default, bool):
        if text is not None:
            raise DatasetError(f"@{name} takes no value")
        return True
    try:
        if isinstance(default, float):
            value = float(text or "")
            if not 0.0 < value < 1.0:
                raise ValueError
            return value
        number = int(text or "")
        if number < 0 or (name == "size" and number not in SIDES):
            raise ValueError
        return number
    except ValueError:
        wanted = {"size": f"{SIDES[0]} to {SIDES[-1]}", "held-out": "a share between 0 and 1"}.get(name, "0 or more")
        raise DatasetError(f"@{name}={text or ''}: expected {wanted}") from None


def side_of(sizes: set[tuple[int, int]], options: Options) -> int:
    """The side in pixels to which images of these sizes (width, height) are resized."""
    if options.size:
        return options.size
    width, height = next(iter(sizes), (0, 0))
    return width if len(sizes) == 1 and width == height and width in OWN_SIDES else USUAL_SIDE


def square(image: Any, side: int, grey: bool) -> np.ndarray:
    """A Pillow image as ``(side, side, 3)`` uint8: as a viewer shows it, its middle square, resized."""
    image = shown(image).convert("RGB")
    if grey:
        image = image.convert("L").convert("RGB")
    return np.asarray(resized(image, side))


def _in_words(classes: Sequence[str] | None) -> str:
    if not classes:
        return "no classes"
    names = ", ".join(classes[:NAMED]) + (", ..." if len(classes) > NAMED else "")
    return f"{len(classes)} classes ({names})"
