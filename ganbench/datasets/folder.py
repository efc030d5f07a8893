"""``folder:PATH``: a folder of pictures of any size. Sub-folders, if there are several, are classes."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ganbench.datasets import DatasetError
from ganbench.datasets.user_images import NAMED, Collection, Options, Pictures, side_of, square
from ganbench.plugin.hookspecs import hookimpl
from ganbench.plugin.interfaces import Dataset

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
# Pillow goes by content, not by suffix; among the formats left out is one (EPS) that it gives to Ghostscript to run.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")


class Unreadable(Exception):
    """Why a file cannot be read."""


class Folder(Collection):
    """Every PNG, JPEG, WebP, BMP and GIF (its first frame) below a folder; hidden and other files are passed over."""

    name = "folder"

    def fingerprint(self, path: Path) -> Any:
        """Names, sizes and times of the files: reading them all again would take as long as preparing them."""
        found = []
        for file in files_below(path):
            about = file.lstat()
            found.append([str(file.relative_to(path)), about.st_size, about.st_mtime_ns])
        return found

    def read(self, path: Path, options: Options) -> Pictures:
        files = list(files_below(path))
        if not files:
            raise DatasetError(f"there is no image in {path}; it reads {', '.join(SUFFIXES)}")
        root = path.resolve()
        sizes: set[tuple[int, int]] = set()
        for file in files if not options.size else []:
            try:
                sizes.add(decoded(file, root, lambda image: image.size))
            except Unreadable:  # it is reported below
                continue
        side = side_of(sizes, options)
        images = np.empty((len(files), side, side, 3), dtype=np.uint8)
        readable: list[Path] = []
        failures: list[str] = []
        for file in files:
            try:
                images[len(readable)] = decoded(file, root, lambda image: square(image, side, options.grey))
                readable.append(file)
            except Unreadable as reason:
                failures.append(f"{file.relative_to(path)} ({reason})")
        said = refuse(failures, len(files), options)
        classes = classes_of([file.relative_to(path) for file in readable], options)
        return Pictures(images[: len(readable)], *classes, said)


def files_below(root: Path) -> Iterator[Path]:
    """Images, and links to folders (which are not followed), in an order that no file system decides."""

    def refused(reason: OSError) -> None:
        raise DatasetError(f"{reason.filename} cannot be read: {reason.strerror}")

    if not root.is_dir():
        raise DatasetError(f"there is no folder {root}")
    found = []
    for place, folders, names in os.walk(root, onerror=refused):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if Path(place, name).is_symlink()]
        pictures = [name for name in names if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
        found += [Path(place, name) for name in (*links, *pictures)]
    yield from sorted(found, key=lambda path: path.relative_to(root).as_posix())


def decoded(file: Path, root: Path, use: Callable[[Any], Any]) -> Any:
    """Open an image file inside ``root`` and return ``use(image)``; raises Unreadable, naming no folder."""
    from PIL import Image

    try:
        target = file.resolve(strict=True)
        if not target.is_relative_to(root):
            raise Unreadable("a link that leads out of the folder")
        if not stat.S_ISREG(target.stat().st_mode):
            raise Unreadable("a link to a folder" if target.is_dir() else "not a plain file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(target, formats=FORMATS) as image:
                return use(image)
    except Unreadable:
        raise
    except Image.UnidentifiedImageError:
        raise Unreadable("not an image of a known format") from None
    except Exception as reason:  # Pillow's decoders raise many kinds
        words = (str(reason) or type(reason).__name__).partition("\n")[0]
        raise Unreadable(words.replace(f"{root}{os.sep}", "")) from None


def refuse(failures: list[str], total: int, options: Options) -> list[str]:
    """A note about files that cannot be read; raises DatasetError unless they may be left out."""
    if not failures:
        return []
    named = "; ".join(failures[:NAMED]) + (f"; and {len(failures) - NAMED:,} more" if len(failures) > NAMED else "")
    what = f"{len(failures):,} of {total:,} files cannot be read: {named}"
    if not options.skip_unreadable:
        raise DatasetError(f"{what}. Mend or remove them, or leave them out with @skip-unreadable behind the path")
    return [f"left out: {what}"]


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
