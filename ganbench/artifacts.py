"""What a trial leaves for people to look at: sample pictures, points, its history as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ganbench.files import NotPlain, clear, make_folder, naming, read_plain, write_atomic

GRID = 8  # samples a side
CELL = 64  # smaller images are enlarged to about this many pixels, whole pixels only
POINTS = 1000
MOST_POINTS = 1 << 24  # bytes of points.csv
_ROW = re.compile(r"[0-9]{1,16}(,-?[0-9.]{1,32}(e[-+]?[0-9]{1,3})?){2}")


def write_samples(folder: Path, images_seen: int, samples: Tensor) -> None:
    """The first samples of an evaluation: ``samples/<images_seen>.png``, or rows of ``samples/points.csv``."""
    folder = folder / "samples"
    make_folder(folder)
    clear(folder)
    if samples.dim() == 4:
        write_atomic(folder / f"{images_seen}.png", picture(samples[: GRID * GRID].cpu().numpy()))
    else:
        _write_points(folder / "points.csv", images_seen, samples[:POINTS].cpu().numpy())


def differing(folder: Path, evaluations: list[dict[str, Any]], samples: Tensor) -> list[str]:
    """Which of a trial's ``history.csv`` and last samples are not what its record and those samples give."""
    images_seen = evaluations[-1]["images_seen"]
    files: dict[str, Callable[[Path], bool]] = {
        "history.csv": lambda path: _rows(path.read_text()) == _rows(history(evaluations).decode()),
    }
    if samples.dim() == 4:
        expected = picture(samples[: GRID * GRID].cpu().numpy())
        files[f"samples/{images_seen}.png"] = lambda path: _same_pixels(path.read_bytes(), expected)
    else:
        rows = point_rows(images_seen, samples[:POINTS].cpu().numpy())
        files["samples/points.csv"] = lambda path: path.read_text().splitlines()[-len(rows) :] == rows
    found = []
    for name, same in files.items():
        try:
            if not same(folder / name):
                found.append(name)
        except (OSError, ValueError):
            found.append(name)
    return found


def _rows(text: str) -> list[dict[str, str]]:
    """Cells by name: a record keeps no order of names, a history does."""
    return list(csv.DictReader(io.StringIO(text)))


def _same_pixels(content: bytes, expected: bytes) -> bool:
    """Whether two PNG hold the same picture: how it is packed differs between versions of zlib."""
    with Image.open(io.BytesIO(content), formats=["PNG"]) as one, Image.open(io.BytesIO(expected)) as other:
        return one.size == other.size and one.convert("RGB").tobytes() == other.convert("RGB").tobytes()


def picture(images: np.ndarray) -> bytes:
    """A grid of uint8 images ``(n, channels, height, width)``, 8 a row, as PNG; 1 channel is grey, 3 are colour."""
    n, channels, height, width = images.shape
    zoom = max(1, CELL // max(height, width))
    rows = -(-n // GRID)
    canvas = np.zeros((rows * (height + 1) + 1, GRID * (width + 1) + 1, 3), dtype=np.uint8)
    canvas[...] = 96  # grey lines between the samples
    for i, image in enumerate(images):
        top, left = (i // GRID) * (height + 1) + 1, (i % GRID) * (width + 1) + 1
        pixels = image if channels == 3 else np.repeat(image[:1], 3, axis=0)
        canvas[top : top + height, left : left + width] = pixels.transpose(1, 2, 0)
    out = io.BytesIO()
    Image.fromarray(canvas.repeat(zoom, axis=0).repeat(zoom, axis=1)).save(out, format="PNG", optimize=False)
    return out.getvalue()


def history(evaluations: list[dict[str, Any]]) -> bytes:
    """``history.csv``: one row an evaluation, nested names joined by dots."""
    rows = [_flat(entry) for entry in evaluations]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _write_points(path: Path, images_seen: int, points: np.ndarray) -> None:
    """Keep the rows of earlier evaluations; a resumed trial may write its last one again."""
    with naming("read", path):
        try:
            earlier = read_plain(path, MOST_POINTS).decode(errors="replace").splitlines()
        except (FileNotFoundError, NotPlain):
            earlier = []
    kept = [line for line in earlier if _ROW.fullmatch(line) and _seen(line) < images_seen]
    rows = point_rows(images_seen, points)
    write_atomic(path, ("\n".join(["images_seen,x,y", *kept, *rows]) + "\n").encode())


def point_rows(images_seen: int, points: np.ndarray) -> list[str]:
    """Lines of ``points.csv`` for the samples ``(n, 2)`` of one evaluation."""
    return [f"{images_seen},{float(x)!r},{float(y)!r}" for x, y in points]


def _seen(line: str) -> int:
    return int(line.partition(",")[0])


def _flat(entry: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, value in entry.items():
        # The metric values and the watched figures come first by their own names.
        path = name if prefix in ("", "values") else f"{prefix}.{name}"
        if isinstance(value, dict):
            row.update(_flat(value, path))
        else:
            row[path] = "" if value is None else value
    return row
