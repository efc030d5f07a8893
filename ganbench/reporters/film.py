"""Films of trainings as animated pictures, for slides and README files: WebP, GIF or APNG, as Pillow writes them.

Every trial has a panel: its name, the samples, and below them the curve of a metric with the moment that is shown.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ganbench.analysis.stability import UNSTABLE
from ganbench.reporters.charts import Axis, axis, finite
from ganbench.reporters.formatting import number
from ganbench.reporters.trials import Trial
from ganbench.results.film import Frame, read_frames, tinted, view

SUFFIXES = {".webp": "WEBP", ".gif": "GIF", ".png": "PNG"}
SIDE = 296  # pixels of a panel's picture: 64 images of 8x8, with lines between, enlarged fourfold
GAP, TITLE, CURVE, CAPTION = 12, 42, 64, 40  # pixels: between parts, and the heights of the others
INK, PALE, BLUE, RED = "#1a1a1a", "#b8b8b8", "#0c1d83", "#b3261e"
LEVELS = 5  # of a surface, of which the middle one is "as likely real as not"
HOLD = 6  # frames for which the last one stays


@dataclass(frozen=True)
class Panel:
    """What a film shows of one trial.

    Attributes:
        title, trial: the variant, and below it the dataset and the seed.
        scale: panels that share it share the vertical axis of their curves: the metric, what it is measured on.
        frames: in the order of training; at least one.
        centres: of the true modes ``(k, 2)``; empty for images.
        label: of the metric whose curve is drawn.
        images, values: that curve ``(n,)``; NaN for a gap.
        log: whether its axis is logarithmic.
        word, unstable_at: the verdict, and after how many images it fell; "" and None for one that was not unstable.
    """

    title: str
    trial: str
    scale: str
    frames: list[Frame]
    centres: np.ndarray
    label: str
    images: np.ndarray
    values: np.ndarray
    log: bool | None
    word: str
    unstable_at: float | None


def panel(trial: Trial, root: Path, metric: str | None = None) -> Panel:
    """What a film shows of a trial in the results folder ``root``; by default the primary metric.

    Raises:
        ValueError: it has no frames, or not this metric during training; the message says what there is.
    """
    record = trial.record
    assert record is not None and trial.place is not None
    frames = read_frames(trial.place, root)
    if not frames:
        raise ValueError("it left no film: trials of earlier versions have none; train it again")
    metric = metric or record.primary
    values = finite([entry.values.get(metric) for entry in record.evaluations])
    if np.isfinite(values).sum() < 2:
        known = {name for entry in record.evaluations[:-1] for name in entry.values}
        raise ValueError(f"it has no curve of {metric}; it has those of {', '.join(sorted(known))}")
    about, unstable = record.metrics[metric], trial.word in UNSTABLE
    seen = [float(entry.images_seen) for entry in record.evaluations]
    return Panel(
        title=trial.about["variant"],
        trial=f"{trial.about['dataset']}, seed {trial.seed}",
        scale=f"{metric} on {trial.about['dataset']}, {trial.about['extractor']}",
        frames=frames,
        centres=np.array(record.reference.centres or [], dtype=float).reshape(-1, 2),
        label=about.label,
        images=np.array(seen),
        values=values,
        log=None if about.direction == "min" else False,
        word=trial.word if unstable else "",
        unstable_at=(float(trial.images) if trial.images is not None else seen[-1]) if unstable else None,
    )


def film(panels: Sequence[Panel], suffix: str, rate: float) -> bytes:
    """The panels side by side, ``rate`` frames a second; panels of fewer frames show each for longer.

    Args:
        suffix: one of ``SUFFIXES``.
    """
    count = max(len(panel.frames) for panel in panels)
    # Panels are compared: a curve that filled its own panel would show a change of 0.1 % as a climb beside a real one.
    values: dict[str, list[np.ndarray]] = {}
    for panel in panels:
        values.setdefault(panel.scale, []).append(panel.values)
    axes = [axis(np.concatenate(values[panel.scale]), panel.log) for panel in panels]
    shown = []
    for i in range(count):
        share = i / (count - 1) if count > 1 else 1.0
        at = [round(share * (len(panel.frames) - 1)) for panel in panels]
        shown.append(_beside([_panel(*each) for each in zip(panels, axes, at, strict=True)]))
    out, each = io.BytesIO(), round(1000 / rate)
    durations = [each] * (count - 1) + [each * HOLD]
    options = {"lossless": True, "method": 4, "minimize_size": True} if suffix == ".webp" else {}
    shown[0].save(
        out, format=SUFFIXES[suffix], save_all=True, append_images=shown[1:], duration=durations, loop=0, **options
    )
    return out.getvalue()


def _beside(pictures: Sequence[Image.Image]) -> Image.Image:
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) + 1)
    whole = Image.new("RGB", (width, pictures[0].height + 2 * GAP), "white")
    left = GAP
    for picture in pictures:
        whole.paste(picture, (left, GAP))
        left += picture.width + GAP
    return whole


def _panel(panel: Panel, vertical: Axis | None, k: int) -> Image.Image:
    """The panel at its frame ``k``; ``vertical`` is the axis of its curve, None without a value."""
    frame = panel.frames[k]
    image = Image.new("RGB", (SIDE, TITLE + SIDE + CAPTION + CURVE), "white")
    draw = ImageDraw.Draw(image)
    draw.text((0, 2), _cut(draw, panel.title), INK, _font(15))
    draw.text((0, 21), _cut(draw, panel.trial), INK, _font(14))
    image.paste(_picture(frame, panel.centres), (0, TITLE))
    draw.text((0, TITLE + SIDE + 3), f"{frame.images:,} images", INK, _font(14))
    draw.text((0, TITLE + SIDE + 21), f"{panel.label} {number(_at(panel, frame.images))}", INK, _font(14))
    if panel.unstable_at is not None and frame.images >= panel.unstable_at:
        draw.text((SIDE, TITLE + SIDE + 3), panel.word, RED, _font(14), anchor="ra")
    if vertical is not None:
        _curve(draw, panel, vertical, frame.images, TITLE + SIDE + CAPTION)
    return image


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _cut(draw: ImageDraw.ImageDraw, text: str) -> str:
    """A text that is too long for a panel, without its middle: what was set stands at its end."""
    shown, left = text, len(text)
    while draw.textlength(shown, _font(15)) > SIDE and left > 8:
        left -= 2
        shown = f"{text[: left // 2]}…{text[-left // 2 :]}"
    return shown


def _picture(frame: Frame, centres: np.ndarray) -> Image.Image:
    """The samples of a frame in a square: images enlarged by whole pixels where they are small, or points."""
    square = Image.new("RGB", (SIDE, SIDE), "white")
    if frame.grid is not None:
        grid = frame.grid.convert("RGB")
        scale = SIDE / max(grid.size)
        scale = float(int(scale)) if scale >= 1 else scale
        size = max(1, round(grid.width * scale)), max(1, round(grid.height * scale))
        grid = grid.resize(size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX)
        square.paste(grid, ((SIDE - grid.width) // 2, (SIDE - grid.height) // 2))
        return square
    assert frame.points is not None
    if frame.surface is not None:
        large = frame.surface.convert("L").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        # In steps, as on a map: they show where D changes, and a film of smooth shades has several times the bytes.
        steps = np.round(np.asarray(large, dtype=float) / 255 * (LEVELS - 1)) / (LEVELS - 1) * 255
        square.paste(tinted(Image.fromarray(steps.round().astype(np.uint8))))
    draw = ImageDraw.Draw(square)
    points = frame.points[np.isfinite(frame.points).all(axis=1)]
    if len(centres) or len(points):
        corner, width = view(centres) if len(centres) else view(points, 1.05)

        def place(positions: np.ndarray) -> np.ndarray:
            return np.asarray((positions - corner) / width * [SIDE, -SIDE] + [0, SIDE]).round()

        for x, y in place(points):
            draw.rectangle((x - 1, y - 1, x + 1, y + 1), fill=BLUE)
        for x, y in place(centres):
            draw.ellipse((x - 7, y - 7, x + 7, y + 7), outline=RED, width=2)
    draw.rectangle((0, 0, SIDE - 1, SIDE - 1), outline=PALE)
    return square


def _at(panel: Panel, images: int) -> float | None:
    """The metric's last known value at a moment; None before there is one."""
    known = panel.values[(panel.images <= images) & np.isfinite(panel.values)]
    return float(known[-1]) if len(known) else None


def _curve(draw: ImageDraw.ImageDraw, panel: Panel, vertical: Axis, images: int, top: int) -> None:
    """The metric's course, what is past in ink and what comes pale, the moment and the verdict's marked."""
    known = np.isfinite(panel.values) & ((panel.values > 0) | (not vertical.log))
    x = panel.images / (panel.images[-1] or 1.0) * (SIDE - 9) + 4
    y = top + 4 + (CURVE - 9) * (1 - vertical.share(np.where(known, panel.values, 1.0)))
    line = list(zip(x[known].tolist(), y[known].tolist(), strict=True))
    past = int((panel.images[known] <= images).sum())
    draw.line(line, fill=PALE, width=2)
    draw.line(line[:past], fill=BLUE, width=2)
    if panel.unstable_at is not None:
        at = float(np.interp(panel.unstable_at, panel.images, x))
        draw.line((at, top, at, top + CURVE), fill=RED, width=1)
    if past:
        a, b = line[past - 1]
        draw.ellipse((a - 4, b - 4, a + 4, b + 4), fill=BLUE)
