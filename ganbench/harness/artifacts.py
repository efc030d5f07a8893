"""Files of a trial for people to look at: pictures of samples, points, its history as CSV."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ganbench.results.film import grid
from ganbench.utils import canonical_json
from ganbench.utils.files import NotPlain, make_folder, read_plain, remove_links, store_errors, write_atomic

GRID = 8  # samples a side
CELL = 32  # smaller images are enlarged to about this many pixels, whole pixels only
POINTS = 1000
MOST_BYTES = 1 << 24  # of one file that is read back
_ROW = re.compile(r"[0-9]{1,16}(,-?[0-9.]{1,32}(e[-+]?[0-9]{1,3})?){2}")


def write_samples(folder: Path, images_seen: int, samples: Tensor) -> None:
    """The first samples of an evaluation: ``samples/<images_seen>.png``, or rows of ``samples/points.csv``."""
    folder = folder / "samples"
    make_folder(folder)
    remove_links(folder)
    first = shown(samples)
    if first.ndim == 4:
        write_atomic(folder / f"{images_seen}.png", image_grid(first))
    else:
        _write_points(folder / "points.csv", images_seen, first)


def shown(samples: Tensor) -> np.ndarray:
    """What pictures show of samples: the first 64 images, or of the first 1,000 points two coordinates."""
    if samples.dim() == 4:
        return np.asarray(samples[: GRID * GRID].cpu().numpy())
    return in_plane(samples[:POINTS].cpu().numpy())


def in_plane(points: np.ndarray) -> np.ndarray:
    """What is drawn of points ``(n, d)``: their first two coordinates ``(n, 2)``; a missing second one is 0."""
    return np.pad(points[:, :2], [(0, 0), (0, max(0, 2 - points.shape[1]))])


def write_pictures(folder: Path, pictures: Mapping[str, bytes], about: dict[str, Any]) -> None:
    """``pictures/<name>.png``, and ``pictures/about.json`` where a caption needs to know more."""
    files = {f"{name}.png": content for name, content in pictures.items()}
    if about:
        files["about.json"] = f"{canonical_json.dumps(about)}\n".encode()
    if files:
        folder = folder / "pictures"
        make_folder(folder)
        remove_links(folder)
    for name, content in files.items():
        write_atomic(folder / name, content)


def differing_files(
    folder: Path, evaluations: list[dict[str, Any]], samples: Tensor, pictures: Mapping[str, bytes]
) -> list[str]:
    """Names those of a trial's ``history.csv``, last samples and ``pictures`` that its record and state do not give.

    ``pictures`` are looked at only where the trial left some: those of earlier versions have none.
    """
    images_seen = evaluations[-1]["images_seen"]
    files: dict[str, Callable[[Path], bool]] = {
        "history.csv": lambda path: _rows(_text(path)) == _rows(history_csv(evaluations).decode()),
    }
    first = shown(samples)
    if first.ndim == 4:
        files[f"samples/{images_seen}.png"] = _as_drawn(image_grid(first))
    else:
        files["samples/points.csv"] = lambda path: _same_points(_text(path), images_seen, first)
    if (folder / "pictures").is_dir():
        files |= {f"pictures/{name}.png": _as_drawn(content) for name, content in pictures.items()}
    found = []
    for name, same in files.items():
        try:
            if not same(folder / name):
                found.append(name)
        except (OSError, ValueError, csv.Error):
            found.append(name)
    return found


def _as_drawn(expected: bytes) -> Callable[[Path], bool]:
    return lambda path: _same_pixels(read_plain(path, MOST_BYTES), expected)


def _text(path: Path) -> str:
    return read_plain(path, MOST_BYTES).decode()


def _same_points(text: str, images_seen: int, points: np.ndarray) -> bool:
    """Whether the rows of the last evaluation are these points; decimals beyond single precision do not count."""
    last = [line.split(",") for line in text.splitlines()[-len(points) :]]
    seen = [row[0] for row in last] == [str(images_seen)] * len(points)
    return seen and np.array_equal(np.array([row[1:] for row in last], dtype=np.float32), points, equal_nan=True)


def _rows(text: str) -> list[dict[str, str]]:
    """Cells by name: a record keeps no order of names, a history does."""
    return list(csv.DictReader(io.StringIO(text)))


def _same_pixels(content: bytes, expected: bytes) -> bool:
    """Whether two PNG hold the same picture: how it is packed differs between versions of zlib."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a size that is not the expected one
            with Image.open(io.BytesIO(content), formats=["PNG"]) as one, Image.open(io.BytesIO(expected)) as other:
                return one.size == other.size and one.convert("RGB").tobytes() == other.convert("RGB").tobytes()
    except Exception:  # Pillow's decoder raises many kinds
        return False


def image_grid(images: np.ndarray) -> bytes:
    """A grid of uint8 images ``(n, channels, height, width)``, 8 a row, as PNG; small ones are enlarged."""
    zoom = max(1, CELL // max(images.shape[2:]))
    out = io.BytesIO()
    Image.fromarray(grid(images, GRID).repeat(zoom, axis=0).repeat(zoom, axis=1)).save(out, format="PNG")
    return out.getvalue()


def history_csv(evaluations: list[dict[str, Any]]) -> bytes:
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
    with store_errors("read", path):
        try:
            earlier = read_plain(path, MOST_BYTES).decode(errors="replace").splitlines()
        except (FileNotFoundError, NotPlain):
            earlier = []
    kept = [line for line in earlier if _ROW.fullmatch(line) and _seen(line) < images_seen]
    # The fewest digits that give the float32 value back.
    rows = [f"{images_seen},{x!s},{y!s}" for x, y in points]
    write_atomic(path, ("\n".join(["images_seen,x,y", *kept, *rows]) + "\n").encode())


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
