"""Frames of a training: a small picture of the samples at every evaluation, in a trial's folder ``film/``.

Of images ``<images seen>.png``, a grid of samples. Of points ``<images seen>.npy``, float16, and
where the true modes are known and there is a discriminator ``<images seen>.surface.png``: how real it takes each place
of ``view`` for, from 0 (fake) to 255. All frames of a trial show the same latents.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ganbench.utils.files import leads_outside, make_folder, read_plain, remove_links, write_atomic

FOLDER = "film"
_NAME = re.compile(r"(\d{1,16})(\.png|\.npy|\.surface\.png)")
COLUMNS = 8
MOST_TILES = 64
FRAME_BYTES = 95_000  # of a frame's pixels: 21 frames, packed or not, stay below 2 MB
MOST_POINTS = 1000
MOST_FRAMES = 200  # that are read
FAKE, REAL = np.array([255.0, 236, 214]), np.array([214.0, 229, 255])  # colours of a surface
SURFACE = 48  # pixels a side
ROOM = 1.5  # side of the square that is shown, in units of the side of the modes' own


@dataclass(frozen=True)
class Frame:
    """One evaluation: ``grid``, a picture, or ``points`` ``(n, 2)`` on the ``surface``, a picture or None."""

    images: int
    grid: Image.Image | None = None
    points: np.ndarray | None = None
    surface: Image.Image | None = None


def view(places: np.ndarray, room: float = ROOM) -> tuple[np.ndarray, float]:
    """The square that is shown around places ``(n, 2)``: its corner with the smallest coordinates, and its side."""
    low, high = places.min(axis=0), places.max(axis=0)
    side = float((high - low).max() or 1.0) * room
    return (low + high - side) / 2, side


def surface_places(centres: np.ndarray) -> np.ndarray:
    """The middle of each pixel of the surface around modes ``(k, 2)``: ``(SURFACE**2, 2)``, row by row from the top."""
    corner, side = view(centres)
    steps = (np.arange(SURFACE) + 0.5) / SURFACE * side
    x, y = np.meshgrid(corner[0] + steps, corner[1] + steps[::-1])
    return np.stack([x.ravel(), y.ravel()], axis=1)


def write_frame(place: Path, images_seen: int, samples: np.ndarray, realness: np.ndarray | None = None) -> None:
    """Write the frame of an evaluation into a trial's folder.

    Args:
        samples: uint8 ``(n, channels, height, width)``, or points ``(n, 2)``.
        realness: of ``surface_places``, 0 to 1; None without a surface.
    """
    folder = place / FOLDER
    make_folder(folder)
    remove_links(folder)
    if samples.ndim == 4:
        write_atomic(folder / f"{images_seen}.png", _png(tiles(samples)))
        return
    out = io.BytesIO()
    with np.errstate(over="ignore"):  # beyond float16 a point is outside of every plot
        np.save(out, samples[:MOST_POINTS].astype(np.float16))
    write_atomic(folder / f"{images_seen}.npy", out.getvalue())
    if realness is not None:
        grey = (realness.reshape(SURFACE, SURFACE) * 255).round().astype(np.uint8)
        write_atomic(folder / f"{images_seen}.surface.png", _png(grey))


def tiles(images: np.ndarray) -> np.ndarray:
    """A grid of the first images, as many as fit into ``FRAME_BYTES``; an image larger than that is made smaller."""
    images = images if images.shape[1] == 3 else images[:, :1]
    shrink = max(1, math.ceil(math.sqrt(images[0].size / FRAME_BYTES)))
    down, across = min(shrink, images.shape[2]), min(shrink, images.shape[3])
    height, width = images.shape[2] // down, images.shape[3] // across
    if shrink > 1:
        cut = images[:1, :, : height * down, : width * across]
        images = cut.reshape(1, -1, height, down, width, across).mean(axis=(3, 5)).round().astype(np.uint8)
    fit = max(1, min(len(images), MOST_TILES, FRAME_BYTES // images[0].size))
    columns = min(COLUMNS, fit)
    return grid(images[: fit // columns * columns], columns)


def grid(images: np.ndarray, columns: int = COLUMNS) -> np.ndarray:
    """Uint8 images ``(n, channels, height, width)`` in rows with grey lines between: ``(height, width)`` or ``(…, 3)``.

    3 channels are colour; of any other number the first is shown, as grey.
    """
    n, channels, height, width = images.shape
    # Grey ones as grey: a page holds one for every variant and dataset.
    images = images if channels == 3 else images[:, :1]
    rows = -(-n // columns)
    canvas = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, images.shape[1]), 96, dtype=np.uint8)
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + 1) + 1, (i % columns) * (width + 1) + 1
        canvas[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return canvas if channels == 3 else canvas[..., 0]


def read_frames(place: Path, root: Path, newest: bool = False) -> list[Frame]:
    """The frames of a trial in the order of training; those that cannot be read are left out.

    Args:
        place: the trial's folder, below the results folder ``root``. Nothing outside of it is read.
        newest: the last one alone.
    """
    folder = place / FOLDER
    if leads_outside(folder, root) or not folder.is_dir():
        return []
    found: dict[int, dict[str, Path]] = {}
    for path in folder.iterdir():
        if named := _NAME.fullmatch(path.name):
            found.setdefault(int(named[1]), {})[named[2]] = path
    frames = []
    for images in _spread(sorted(found), 1 if newest else MOST_FRAMES):
        files = found[images]
        if ".npy" in files:
            points = _points(files[".npy"])
            if points is not None:
                surface = _picture(files[".surface.png"], SURFACE) if ".surface.png" in files else None
                frames.append(Frame(images, points=points, surface=surface))
        elif ".png" in files and (grid := _picture(files[".png"], FRAME_BYTES)):
            frames.append(Frame(images, grid=grid))
    return frames


def _spread(items: list[int], most: int) -> list[int]:
    """At most ``most`` of them, evenly, the last among them."""
    steps = np.linspace(len(items) - 1, 0, min(len(items), most))
    return [items[i] for i in steps.round().astype(int)[::-1]]


def tinted(surface: Image.Image) -> Image.Image:
    """A surface in colours: orange where the discriminator says fake, blue where it says real."""
    share = np.asarray(surface.convert("L"), dtype=float)[..., None] / 255
    return Image.fromarray((FAKE + share * (REAL - FAKE)).round().astype(np.uint8))


def _png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG", optimize=True)
    return out.getvalue()


def _picture(path: Path, side: int) -> Image.Image | None:
    """A PNG, unpacked; None where it is none, or larger than one that a trial writes."""
    try:
        with Image.open(io.BytesIO(read_plain(path, 4 * FRAME_BYTES)), formats=["PNG"]) as opened:
            if max(opened.size) > side or opened.width * opened.height > 2 * FRAME_BYTES:
                return None
            return opened.convert("L" if opened.mode == "L" else "RGB")
    except (OSError, ValueError, SyntaxError):  # Pillow raises the last for a PNG whose parts do not fit together
        return None


def _points(path: Path) -> np.ndarray | None:
    try:
        points = np.load(io.BytesIO(read_plain(path, 4 * MOST_POINTS + 1024)), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = points.ndim == 2 and points.shape[1] == 2 and points.dtype == np.float16
    return points.astype(np.float64) if fits else None
