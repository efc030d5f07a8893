"""``leaderboard.html``: one file that opens from disk, without a network, under a strict Content-Security-Policy."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader

from ganbench.kinds import Reporter
from ganbench.reporters.layout import Section, cells, sections
from ganbench.store import write_atomic

_ENVIRONMENT = Environment(
    loader=PackageLoader("ganbench.reporters"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


class HtmlReporter(Reporter):
    name = "html"
    suffix = ".html"

    def write(self, leaderboard: pd.DataFrame, trials: pd.DataFrame, folder: Path) -> None:
        write_atomic(folder / "leaderboard.html", to_html(leaderboard, trials, folder).encode())


def to_html(leaderboard: pd.DataFrame, trials: pd.DataFrame, folder: Path) -> str:
    """The page: each section's table, and the last samples of the first completed seed of each variant."""
    style = _ENVIRONMENT.loader.get_source(_ENVIRONMENT, "page.css")[0]  # type: ignore[union-attr]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return _ENVIRONMENT.get_template("leaderboard.html").render(
        style=style,
        digest=digest,
        sections=[_describe(section, trials, folder) for section in sections(leaderboard)],
    )


def _describe(section: Section, trials: pd.DataFrame, folder: Path) -> dict[str, Any]:
    headings, rows = cells(section)
    own = trials[(trials["dataset"] == section.dataset) & (trials["protocol"] == section.protocol)]
    return {
        "dataset": section.dataset,
        "extractor": section.extractor,
        "protocol": section.protocol,
        "headings": headings,
        "rows": rows[:-1],
        "floor": rows[-1],
        "pictures": [p for variant in section.rows["variant"] if (p := _picture(own, variant, folder))],
        "failures": own.loc[own["status"] != "completed", ["variant", "seed", "status", "reason"]].to_dict("records"),
    }


def _picture(trials: pd.DataFrame, variant: str, folder: Path) -> dict[str, Any] | None:
    """The last sample picture of a variant's first completed seed, as a data URL, with what the trial cost."""
    completed = trials[(trials["variant"] == variant) & (trials["status"] == "completed")]
    for _, trial in completed.iterrows():
        name = variant.partition("[")[0].partition("@")[0]
        place = folder / trial["dataset"] / name / f"seed-{trial['seed']}-{trial['trial']}"
        pictures = sorted((place / "samples").glob("*.png"), key=lambda path: int(path.stem))
        if pictures:
            data = base64.b64encode(pictures[-1].read_bytes()).decode()
            return {
                "variant": variant,
                "seed": trial["seed"],
                "images": int(pictures[-1].stem),
                "url": f"data:image/png;base64,{data}",
                "seconds": _seconds(place / "cost.json"),
            }
    return None


def _seconds(path: Path) -> str:
    try:
        return f"{json.loads(path.read_text())['wall_seconds']:.0f}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


reporter = HtmlReporter()
