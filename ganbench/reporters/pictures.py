"""Reads the samples and pictures of a trial for a page: PNG as data URLs, points as a scatter plot, none if missing."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from msgspec import Meta, Struct
from PIL import Image

from ganbench.results.film import read_frames, tinted, view
from ganbench.results.schema import MOST_MEASURE, Record
from ganbench.utils import canonical_json
from ganbench.utils.files import leads_outside, read_plain
from ganbench.utils.typed_json import Whole, convert

MOST_BYTES = 1 << 24  # of a file that is read for the page
MOST_SIDE = 1 << 14  # pixels of a picture
MOST_PIXELS = 1 << 24  # of a picture that is cut, for which it has to be unpacked
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"  # what every one begins with
ROWS = 8  # of samples in a picture
MOST_PLOTS = 12  # of the points at several times of a training
PLOT = 400  # width and height of a scatter plot in its own units
TRAINING_PICTURES = {  # pictures that a trial makes at its end: title and caption
    "nearest": (
        "Nearest training images",
        "Samples, and below each row the training image nearest to each: copies would look the same.",
    ),
    "interpolation": (
        "Interpolation",
        "In each row from one latent to another in eight steps: what learnt the data changes smoothly.",
    ),
    "codes": (
        "Paths along the code",
        "In each row one part of the latent's code changes and the rest stays: what the code means.",
    ),
    "arithmetic": ("Latent arithmetic", "Rows are a, b, c and a - b + c, means of latents of a class."),
}


def sample_pictures(place: Path) -> list[tuple[int, Path]]:
    """Every ``samples/<images_seen>.png`` of a trial's folder, in the order of training."""
    found = []
    for path in (place / "samples").glob("*.png"):
        if path.stem.isascii() and path.stem.isdecimal() and len(path.stem) <= 16:
            found.append((int(path.stem), path))
    return sorted(found)


def picture(path: Path, share: int | None = None) -> dict[str, Any] | None:
    """A PNG as a data URL; None where there is none.

    Args:
        share: bytes of the page that it may take; a larger one is cut to as many rows of samples as fit, at least one.
    """
    try:
        data = read_plain(path, MOST_BYTES)
    except OSError:
        return None
    # No other file may reach a page that is shown around, and no picture that is too large to be drawn.
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    if data[:16] != PNG or max(width, height) > MOST_SIDE:
        return None
    rows = ROWS
    if share is not None and len(data) * 4 // 3 > share and width * height <= MOST_PIXELS:
        data, rows = _cut(data, share)
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return {"url": url, "rows": rows, "width": width, "height": height * rows // ROWS}


def _cut(data: bytes, share: int) -> tuple[bytes, int]:
    """The first rows of samples, as many as fit; the picture itself where it is no sound one."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as opened:
            image: Image.Image = opened.convert("RGB")
            if _grey(image):
                image = image.convert("L")
            for rows in (ROWS, 4, 2, 1):
                out = io.BytesIO()
                image.crop((0, 0, image.width, -(-image.height * rows // ROWS))).save(out, format="PNG", optimize=True)
                if len(out.getvalue()) * 4 // 3 <= share:
                    break
    except (OSError, ValueError, SyntaxError):  # PIL raises the last for a PNG whose parts do not fit together
        return data, ROWS
    return out.getvalue(), rows


def _grey(image: Image.Image) -> bool:
    """Whether the three colour channels are equal everywhere, so that one is enough."""
    pixels = np.asarray(image)
    return bool((pixels[..., :1] == pixels).all())


def scatters(path: Path, centres: list[list[float]], last: bool = True) -> list[dict[str, Any]]:
    """The points of ``points.csv`` as SVG paths with the true modes, on a plot that has these in its middle.

    One plot for each number of images seen, or the ``last`` only; none where the file is not what a trial writes.
    """
    try:
        content = read_plain(path, MOST_BYTES)
        if any(line.count(b",") != 2 for line in content.splitlines()):  # thousands of columns take seconds
            return []
        table = pd.read_csv(io.BytesIO(content)).astype({"images_seen": "int64", "x": "float64", "y": "float64"})
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return []
    seen = sorted(set(table["images_seen"].tolist()))[-1 if last else -MOST_PLOTS :]
    plots = [
        _plot(images, table.loc[table["images_seen"] == images, ["x", "y"]].to_numpy(), centres) for images in seen
    ]
    return [plot for plot in plots if plot]


def film_frames(place: Path, root: Path, centres: list[list[float]], newest: bool = False) -> list[dict[str, Any]]:
    """The frames of a trial's film, or the newest, as ``picture`` and ``scatters`` give them.

    A plot may have a ``surface``, a picture in colours.
    """
    found: list[dict[str, Any]] = []
    for frame in read_frames(place, root, newest):
        if frame.grid is not None:
            size = {"width": frame.grid.width, "height": frame.grid.height}
            found.append({"images": frame.images, "url": _url(frame.grid), **size})
        elif frame.points is not None and (plot := _plot(frame.images, frame.points, centres)):
            found.append({**plot, "surface": _url(tinted(frame.surface)) if frame.surface is not None else ""})
    return found


def _url(image: Image.Image) -> str:
    out = io.BytesIO()
    image.save(out, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def _plot(images: int, points: np.ndarray, centres: list[list[float]]) -> dict[str, Any] | None:
    points = points[(np.abs(points) <= MOST_MEASURE).all(axis=1)]
    if not len(points):
        return None
    modes = np.array(centres, dtype=float).reshape(-1, 2)
    corner, side = view(modes) if len(modes) else view(points, 1.05)

    def place(positions: np.ndarray) -> np.ndarray:
        return (positions - corner) / side * [PLOT, -PLOT] + [0, PLOT]

    dots = place(points)
    inside = ((dots >= 0) & (dots <= PLOT)).all(axis=1)
    return {
        "images": images,
        "points": len(points),
        "outside": int((~inside).sum()),
        "path": "".join(f"M{x:.1f} {y:.1f}h0" for x, y in dots[inside]),
        "modes": [(f"{x:.1f}", f"{y:.1f}") for x, y in place(modes)],
    }


def projected(record: Record) -> str:
    """What a caption says where points have more coordinates than the two that are drawn; empty elsewhere."""
    wide = record.reference.features
    points = record.identity.evaluation.extractor == "identity"  # whose features are the coordinates
    return f"the first two of {wide:,.0f} coordinates" if points and wide is not None and wide > 2 else ""


def size_of_samples(place: Path, root: Path) -> int | None:
    """How many bytes of a page the last samples take uncut; None where there are none."""
    if leads_outside(place / "samples", root):
        return None
    if pictures := sample_pictures(place):
        return pictures[-1][1].lstat().st_size * 4 // 3
    points = place / "samples" / "points.csv"
    return points.lstat().st_size if points.is_file() else None


def last_samples(place: Path, root: Path, centres: list[list[float]], share: int) -> dict[str, Any] | None:
    """The samples at the end of a trial's training: a picture, or a plot of its points; None without them."""
    if leads_outside(place / "samples", root):
        return None
    if pictures := sample_pictures(place):
        images, path = pictures[-1]
        found = picture(path, share)
        return found and {"images": images, **found}
    plots = scatters(place / "samples" / "points.csv", centres)
    return plots[0] if plots else None


def training_pictures(place: Path, root: Path) -> list[dict[str, Any]]:
    """The pictures beside the samples, as far as they are there: nearest images, interpolation, codes, arithmetic."""
    folder = place / "pictures"
    if leads_outside(folder, root):
        return []
    about = _about(folder / "about.json")
    found = []
    for name, (title, caption) in TRAINING_PICTURES.items():
        if drawn := picture(folder / f"{name}.png"):
            columns = about if name == "arithmetic" else []
            found.append({"title": title, "caption": caption, **drawn, "columns": columns})
    return found


class _About(Struct):
    """What ``pictures/about.json`` says."""

    arithmetic: Annotated[list[Annotated[list[Whole], Meta(max_length=3)]], Meta(max_length=64)]


def _about(path: Path) -> list[list[int]]:
    """The classes of each column of the arithmetic: ``[[a, b, c], ...]``."""
    try:
        about = convert(canonical_json.loads(read_plain(path, MOST_BYTES)), _About)
    except (OSError, ValueError):
        return []
    return [column for column in about.arithmetic if len(column) == 3]
