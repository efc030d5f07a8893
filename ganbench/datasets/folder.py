"""``folder:PATH``: a folder of pictures of any size. Sub-folders, if there are several, are classes.

Sub-folders named ``train`` and ``test`` are not: the folders in them are.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from ganbench.datasets import DatasetError
from ganbench.datasets.arrays import refuse_too_large
from ganbench.datasets.pictures import (
    SUFFIXES,
    Unreadable,
    has_more_frames,
    list_folder,
    opened,
    plain_file,
    remarks,
)
from ganbench.datasets.user_images import NAMED, Collection, Options, Pictures, side_of, square
from ganbench.plugin.hookspecs import hookimpl
from ganbench.plugin.interfaces import Dataset
from ganbench.utils.console import first_few
from ganbench.utils.files import open_plain

SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}


class Folder(Collection):
    """Every picture below a folder (of several frames the first); what is left out is counted and named."""

    name = "folder"

    def fingerprint(self, path: Path) -> Any:
        """Names and SHA-256 of all pictures: names, sizes and times are the same in other folders too."""
        found, root = list_folder(path), path.resolve()
        return [[[name, _content(root, name)] for name in found.pictures], found.left_out]

    def read(self, path: Path, options: Options) -> Pictures:
        """Read the pictures of a folder; sub-folders, if there are several, are classes."""
        found, root = list_folder(path), path.resolve()
        names = found.pictures
        if not names:
            told = "".join(f"; {text}" for text in found.in_words())
            raise DatasetError(f"there is no image in {path}; it reads {', '.join(sorted(SUFFIXES))}{told}")
        sizes: set[tuple[int, int]] = set()
        for name in names if not options.size else []:
            try:
                with opened(plain_file(root, name)) as image:
                    sizes.add(image.size)
            except Unreadable:  # it is reported below
                continue
        side = side_of(sizes, options)
        refuse_too_large(f"{path}: its {len(names):,} pictures", len(names) * side * side * 3, "a smaller @size")
        images = np.empty((len(names), side, side, 3), dtype=np.uint8)
        readable: list[Path] = []
        failures: list[str] = []
        frames: list[str] = []
        for name in names:
            try:
                with opened(plain_file(root, name)) as image:
                    images[len(readable)] = square(image, side, options.grey)
                    frames += [name] if has_more_frames(image) else []
                readable.append(Path(name))
            except Unreadable as reason:
                failures.append(f"{name} ({reason})")
        said = [*refuse(failures, len(names), options), *found.in_words(), *remarks(frames)]
        if splits := splits_of(readable):
            if len(splits) > 1:
                said.append(
                    f"taken for splits, not for classes: {', '.join(splits)}; their images are put together and split "
                    f"anew. To take those of one alone, add it to the path: folder:{path.name}/{splits[-1]}"
                )
            readable = [file.relative_to(file.parts[0]) for file in readable]
        return Pictures(images[: len(readable)], *classes_of(readable, options), said)


def _content(root: Path, name: str) -> str:
    """Hex SHA-256 of a file's bytes, or why it has none."""
    try:
        with open_plain(plain_file(root, name)) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except Unreadable as reason:
        return str(reason)
    except OSError as reason:
        return str(reason.strerror)


def refuse(failures: list[str], total: int, options: Options) -> list[str]:
    """A note about files that cannot be read; raises DatasetError unless they may be left out."""
    if not failures:
        return []
    what = f"{len(failures):,} of {total:,} files cannot be read: {first_few(failures, NAMED, '; ')}"
    if not options.skip_unreadable:
        raise DatasetError(f"{what}. Mend or remove them, or leave them out with @skip-unreadable behind the path")
    return [f"left out: {what}"]


def splits_of(files: list[Path]) -> list[str]:
    """The first sub-folders, where every file is in one and all of them are named as published splits are."""
    names = {file.parts[0] for file in files}
    named = all(len(file.parts) > 1 for file in files) and {name.lower() for name in names} <= SPLITS
    return sorted(names) if named else []


def classes_of(files: list[Path], options: Options) -> tuple[np.ndarray | None, list[str] | None]:
    """Class numbers and names: the first sub-folder of each file, if every file is in one and there are several."""
    names = sorted({file.parts[0] for file in files})
    if options.unlabelled or len(names) < 2 or any(len(file.parts) == 1 for file in files):
        return None, None
    number = {name: i for i, name in enumerate(names)}
    return np.array([number[file.parts[0]] for file in files], dtype=np.int64), names


@hookimpl
def ganbench_datasets() -> list[Dataset]:
    return [Folder()]
