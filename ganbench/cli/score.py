"""``ganbench score`` from options to what is printed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ganbench import __version__
from ganbench.reporters.terminal import plain, say
from ganbench.scoring.samples import Request
from ganbench.scoring.score import Options, Scores, score
from ganbench.utils.files import write_atomic

ARROWS = {"min": " ↓", "max": " ↑", "none": ""}


def run_score(
    *,
    real: str,
    fake: str,
    n: int | None,
    seed: int | None,
    size: int | None,
    results: Path,
    weights: str | None,
    as_json: bool,
    out: Path | None,
    **rest: Any,
) -> int:
    """Score, print, and write a file where one was asked for; return the exit code."""
    options = Options(Request(n, seed, size, results), weights=Path(weights) if weights else None, **rest)
    found = score(real, fake, options)
    text = json.dumps({"ganbench": __version__, **found.as_json()}, indent=2, allow_nan=False) + "\n"
    if out is not None:
        write_atomic(out, text.encode())
    for note in found.notes:
        say(f"note: {note}", sys.stderr)
    sys.stdout.write(text if as_json else table(found))
    return 0


def table(found: Scores) -> str:
    """One line a metric, numbers at full precision."""
    about = found.about
    lines = [["score", "metric", "value", f"{about['interval_level']:.0%} interval", "floor", "n"]]
    for one in found.scores:
        cells = [
            "not applicable" if one.value is None else repr(one.value),
            "" if one.low is None else f"[{one.low:.5g}, {one.high:.5g}]",
            "" if one.floor is None else repr(one.floor),
        ]
        lines.append([one.label + ARROWS[one.direction], one.name, *cells, f"{about['fake']['n']:,}"])
    return f"{about['fake']['source']} against {about['real']['n']:,} of {about['real']['source']}\n{plain(lines)}"
