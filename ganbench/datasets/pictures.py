"""Finds the pictures of a folder or an archive, and reads each as a viewer shows it.

Every command reads pictures here, so that the same files have the same pixels wherever they are named.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from ganbench.datasets import DatasetError
from ganbench.utils.files import open_plain

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset(
    (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".webp", ".bmp", ".gif", ".tif")
    + (".tiff", ".avif")
)
# Pillow goes by content, not by suffix; among the formats left out is one (EPS) that it gives to Ghostscript to run.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
NAMED = 5  # files that a message names; it counts the others
# Folders in which systems keep thumbnails, resource forks and deleted files; and files that list a folder.
SYSTEM_FOLDERS = frozenset(("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information"))
SYSTEM_FILES = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini"))
FIRST_BYTES = 16
_SIGNATURE = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP|BM....\0\0\0\0|II\*\0|MM\0\*|....ftypavi[fs]", re.DOTALL
)
_ORIENTATION = 0x0112  # the EXIF tag
_OTHERWISE = {
    "shown": "read upright, on white and with 16 bits as 8; --decode torch-fidelity reads them as torch-fidelity "
    "does, which knows neither EXIF nor transparency",
    "torch-fidelity": "not read as a viewer shows them: EXIF orientation, transparency or 16 bits are lost",
}


class Unreadable(Exception):
    """Why a picture cannot be read."""


@dataclass(frozen=True)
class Listing:
    """The pictures of a folder or an archive, and what lies there beside them.

    Attributes:
        pictures: their names, with ``/`` between folders, in an order that no file system decides.
        left_out: what is not read, by its kind in words. Hidden files that are no pictures are in neither.
        notes: what is to be said of the names.
    """

    pictures: list[str]
    left_out: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def in_words(self) -> list[str]:
        """What was left out, and the notes: sentences for the user."""
        told = [counted(names, kind) for kind, names in self.left_out.items()]
        return [*([f"left out: {'; '.join(told)}"] if told else []), *self.notes]


def counted(names: Sequence[str], what: str) -> str:
    """``3 other files (a.txt, b.txt, c.txt)``: how many, and the first few."""
    what = what if len(names) > 1 else what.replace("pictures", "picture").replace("files", "file")
    return f"{len(names):,} {what} ({', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''})"


def listing(names: Iterable[str], first_bytes: Callable[[str], bytes]) -> Listing:
    """Tell the pictures among files.

    A file is a picture if its suffix is one of ``SUFFIXES``; where there is no suffix its first bytes decide. A
    picture under another suffix, such as a copy called ``a.jpg.bak`` or a camera's raw file, is left out, and so is
    what lies in hidden folders and in those of a system.
    """
    pictures: list[str] = []
    left_out: dict[str, list[str]] = {}
    for name in sorted(names):
        place = PurePosixPath(name)
        suffix = place.suffix.lower()
        if any(part.startswith(".") or part in SYSTEM_FOLDERS for part in place.parts):
            if suffix in SUFFIXES and _SIGNATURE.match(first_bytes(name)):
                left_out.setdefault("pictures in hidden places or thumbnails of a system", []).append(name)
        elif suffix in SUFFIXES:
            pictures.append(name)
        elif place.name.lower() not in SYSTEM_FILES:
            is_picture = _SIGNATURE.match(first_bytes(name)) is not None
            if is_picture and not suffix:
                pictures.append(name)
            else:
                kind = "pictures under a suffix of something else" if is_picture else "other files"
                left_out.setdefault(kind, []).append(name)
    alike = Counter(name.casefold() for name in pictures)
    same = [name for name in pictures if alike[name.casefold()] > 1]
    notes = [f"{counted(same, 'names')} differ in upper and lower case alone: each is read"] if same else []
    return Listing(pictures, left_out, notes)


def list_folder(root: Path) -> Listing:
    """The pictures below a folder, and links to folders, which are not followed; raises DatasetError."""

    def refused(reason: OSError) -> None:
        parts = Path(reason.filename).relative_to(root).parts
        if not any(part.startswith(".") or part in SYSTEM_FOLDERS for part in parts):
            raise DatasetError(f"{reason.filename} cannot be read: {reason.strerror}")

    def first_bytes(name: str) -> bytes:
        try:
            with open_plain((root / name).resolve()) as file:
                return file.read(FIRST_BYTES)
        except (OSError, RuntimeError):  # it is no plain file, or may not be read
            return b""

    if not root.is_dir():
        raise DatasetError(f"there is no folder {root}")
    names, links = [], []
    for place, folders, files in os.walk(root, onerror=refused):
        below = Path(place).relative_to(root)
        names += [(below / name).as_posix() for name in files]
        links += [(below / name).as_posix() for name in folders if Path(place, name).is_symlink()]
    found = listing(names, first_bytes)
    visible = [link for link in links if not any(part.startswith(".") for part in PurePosixPath(link).parts)]
    return Listing(sorted([*found.pictures, *visible]), found.left_out, found.notes)


def plain_file(root: Path, name: str) -> Path:
    """The file of that name in a resolved folder, links followed; raises Unreadable where they lead out of it."""
    try:
        target = (root / name).resolve(strict=True)
        if not target.is_relative_to(root):
            raise Unreadable("a link that leads out of the folder")
        if not stat.S_ISREG(target.stat().st_mode):
            raise Unreadable("a link to a folder" if target.is_dir() else "not a plain file")
    except (OSError, RuntimeError) as reason:  # a circle of links, as Python 3.13 has it, and as earlier ones do
        raise Unreadable(getattr(reason, "strerror", None) or "a circle of links") from None
    return target


@contextlib.contextmanager
def opened(source: Any) -> Iterator[Image.Image]:
    """A picture from a path or a binary file; raises Unreadable, also for what the block cannot decode."""
    from PIL import Image

    Image.init()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=[name for name in FORMATS if name in Image.OPEN]) as image:
                yield image
    except Unreadable:
        raise
    except Image.UnidentifiedImageError:
        raise Unreadable("not an image of a known format") from None
    except Exception as reason:  # Pillow's decoders raise many kinds
        words = (str(reason) or type(reason).__name__).partition("\n")[0]
        folder = f"{os.path.dirname(source)}{os.sep}" if isinstance(source, Path) else ""
        raise Unreadable(words.replace(folder, "") if folder else words) from None


def shown(image: Image.Image) -> Image.Image:
    """A picture as a viewer shows it, grey (``L``) or ``RGB``: upright by its EXIF tag, on white, 16 bits as 8.

    Raises:
        Unreadable: its values have no range that is known.
    """
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("F"):
        raise Unreadable("floating-point pixels, whose black and white nothing says")
    if image.mode.startswith("I"):  # 16 bits of grey, which converting would clip
        levels = np.asarray(image).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise Unreadable("more than 16 bits a channel")
        grey = (levels >> 8).astype(np.uint8)
        grey[levels == image.info.get("transparency")] = 255
        return Image.fromarray(grey)
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert(mode)


def as_torch_fidelity(image: Image.Image) -> Image.Image:
    """A picture as Pillow's ``convert`` gives it: neither turned nor put on white. Grey stays one channel."""
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def outline(image: Image.Image, how: str) -> tuple[tuple[int, int], int]:
    """Height and width, and channels (1 or 3), that a picture will have once it is decoded, from its header alone."""
    width, height = image.size
    grey = ("1", "L") if how == "torch-fidelity" else ("1", "L", "LA", "La")
    # The tag of a PNG may stand behind its pixels, which looking for it decodes: not where turning changes nothing.
    if how == "shown" and width != height and image.getexif().get(_ORIENTATION, 1) >= 5:  # turned by a quarter
        width, height = height, width
    return (height, width), 1 if image.mode in grey or (how == "shown" and image.mode.startswith("I")) else 3


DECODERS = {"shown": shown, "torch-fidelity": as_torch_fidelity}


def has_more_frames(image: Image.Image) -> bool:
    """Whether it is an animation or has several pages; the second picture in a JPEG is a preview or a depth map."""
    return image.format != "MPO" and getattr(image, "n_frames", 1) > 1


def reads_otherwise(image: Image.Image) -> bool:
    """Whether ``shown`` and ``as_torch_fidelity`` give other pixels."""
    if not (
        image.mode.startswith("I")
        or image.mode in ("RGBA", "RGBa", "LA", "La", "PA")
        or "transparency" in image.info
        or image.getexif().get(_ORIENTATION, 1) != 1
    ):
        return False
    try:
        one, other = (np.asarray(decode(image).convert("RGB")) for decode in DECODERS.values())
    except Exception:  # one of them cannot read it at all
        return True
    return not np.array_equal(one, other)


def remarks(frames: Sequence[str], otherwise: Sequence[str] = (), how: str = "shown") -> list[str]:
    """What to tell the user of pictures that have several frames, and of those that read otherwise."""
    told = [f"the first frame or page alone read of {counted(frames, 'pictures')}"] if frames else []
    if otherwise:
        told.append(f"{counted(otherwise, 'pictures')} {_OTHERWISE[how]}")
    return told


def resized(image: Image.Image, side: int) -> Image.Image:
    """The middle square of a picture, resized to ``side`` pixels with anti-aliasing."""
    from PIL import Image, ImageOps

    # Pillow widens the filter by the scale when it shrinks, so nothing is skipped: that is the anti-aliasing.
    return ImageOps.fit(image, (side, side), method=Image.Resampling.BICUBIC)
