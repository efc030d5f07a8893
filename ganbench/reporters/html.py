"""``leaderboard.html``: one file that opens from disk, without a network, under a strict Content-Security-Policy."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader

from ganbench import canonical
from ganbench.files import leads_outside, read_plain, write_atomic
from ganbench.kinds import Reporter
from ganbench.reporters.layout import (
    PAIRS,
    Section,
    arrow,
    conditions,
    floor,
    interval,
    label,
    number,
    sections,
    seeds,
    warnings,
)
from ganbench.reporters.remarks import judged, overview, remarks
from ganbench.schema import MOST_MEASURE, fields, measure

MOST_BYTES = 1 << 24  # of a file that is read for the page
MOST_SIDE = 1 << 14  # pixels of a picture
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"  # what every one begins with
PLOT = 400  # width and height of a scatter plot in its own units
_ENVIRONMENT = Environment(
    loader=PackageLoader("ganbench.reporters"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


class HtmlReporter(Reporter):
    name = "html"
    suffix = ".html"

    def write(self, leaderboard: pd.DataFrame, trials: pd.DataFrame, folder: Path) -> None:
        write_atomic(folder / "leaderboard.html", to_html(leaderboard, trials, folder).encode())


def to_html(leaderboard: pd.DataFrame, trials: pd.DataFrame, folder: Path) -> str:
    """The page: for each section its table, its failed trials, and samples of each variant.

    Samples are the last of the first seed that completed, so nobody picked them. They are read from ``folder``; what
    is missing or broken there is left out.
    """
    style = _ENVIRONMENT.loader.get_source(_ENVIRONMENT, "page.css")[0]  # type: ignore[union-attr]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    places = {path.name: path for path in sorted(folder.glob("*/*/seed-*"))}
    return _ENVIRONMENT.get_template("leaderboard.html").render(
        style=style,
        digest=digest,
        plot=PLOT,
        pairs=PAIRS,
        sections=[_describe(section, trials, places, folder) for section in sections(leaderboard)],
        across=overview(leaderboard),
    )


def _describe(section: Section, trials: pd.DataFrame, places: dict[str, Path], folder: Path) -> dict[str, Any]:
    own = trials[(trials["dataset"] == section.dataset) & (trials["protocol"] == section.protocol)]
    rows = [
        {
            **row[["tier", "variant", "verdict", "seeds", "failed"]],
            "rank": "" if pd.isna(row["rank"]) else row["rank"],
            "scores": [(number(row[metric]), interval(row, metric)) for metric in section.metrics],
        }
        for _, row in section.rows.iterrows()
    ]
    return {
        "dataset": section.dataset,
        "extractor": section.extractor,
        "conditions": conditions(section),
        "warnings": warnings(section),
        "seeds": seeds(own["seed"]),
        "headings": [(label(section, metric), arrow(section, metric)) for metric in section.metrics],
        "groups": [
            [row for row in rows if row["rank"] != ""],
            [row for row in rows if row["rank"] == ""],
        ],
        "remarks": remarks(section),
        "floors": [floor(section, metric) for metric in section.metrics],
        "figures": [f for variant in section.rows["variant"] if (f := _figure(section, own, variant, places, folder))],
        "judged": judged(section, trials),
        "failures": own.loc[own["status"] != "completed", ["variant", "seed", "status", "reason"]].to_dict("records"),
    }


def _figure(
    section: Section, trials: pd.DataFrame, variant: str, places: dict[str, Path], folder: Path
) -> dict[str, Any] | None:
    """Samples of a variant's first completed seed as a picture or a scatter plot, and how long that trial took."""
    completed = trials[(trials["variant"] == variant) & (trials["status"] == "completed")]
    for seed, trial in zip(completed["seed"], completed["trial"], strict=True):
        place = places.get(f"seed-{seed}-{trial}")
        if place is None or leads_outside(place / "samples", folder):
            continue
        drawn = _picture(place / "samples") or _scatter(place / "samples" / "points.csv", section.centres)
        if drawn:
            return {"variant": variant, "seed": seed, "seconds": _seconds(place / "cost.json"), **drawn}
    return None


def _picture(folder: Path) -> dict[str, Any] | None:
    """The last ``<images_seen>.png`` as a data URL."""
    pictures = [path for path in folder.glob("*.png") if path.stem.isascii() and path.stem.isdecimal()]
    try:
        last = max(pictures, key=lambda path: int(path.stem))
        data = read_plain(last, MOST_BYTES)
    except (ValueError, OSError):
        return None
    # No other file may reach a page that is shown around, and no picture that is too large to be drawn.
    if data[:16] != PNG or max(int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) > MOST_SIDE:
        return None
    return {"images": int(last.stem), "url": f"data:image/png;base64,{base64.b64encode(data).decode()}"}


def _scatter(path: Path, centres: list[list[float]]) -> dict[str, Any] | None:
    """The last points of ``points.csv`` as an SVG path, and the true modes, on a plot that has these in its middle."""
    try:
        content = read_plain(path, MOST_BYTES)
        if any(line.count(b",") != 2 for line in content.splitlines()):  # thousands of columns take seconds
            return None
        table = pd.read_csv(io.BytesIO(content)).astype({"images_seen": "int64", "x": "float64", "y": "float64"})
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
    last = table[table["images_seen"] == table["images_seen"].max()]
    points = last[["x", "y"]].to_numpy()
    points = points[(np.abs(points) <= MOST_MEASURE).all(axis=1)]
    if not len(points):
        return None
    modes = np.array(centres, dtype=float).reshape(-1, 2)
    shown = modes if len(modes) else points
    low, high = shown.min(axis=0), shown.max(axis=0)
    side = float((high - low).max() or 1.0) * (1.5 if len(modes) else 1.05)
    corner = (low + high - side) / 2

    def place(positions: np.ndarray) -> np.ndarray:
        return (positions - corner) / side * [PLOT, -PLOT] + [0, PLOT]

    dots = place(points)
    inside = ((dots >= 0) & (dots <= PLOT)).all(axis=1)
    return {
        "images": int(last["images_seen"].iloc[0]),
        "points": len(points),
        "outside": int((~inside).sum()),
        "path": "".join(f"M{x:.1f} {y:.1f}h0" for x, y in dots[inside]),
        "modes": [(f"{x:.1f}", f"{y:.1f}") for x, y in place(modes)],
    }


def _seconds(path: Path) -> str:
    """Wall time of a trial; the page can do without it."""
    try:
        cost = canonical.loads(read_plain(path, MOST_BYTES))
        fields({"wall_seconds": measure})(cost)
    except (OSError, ValueError):
        return ""
    return f"{cost['wall_seconds']:,.0f}"


reporter = HtmlReporter()
