"""``leaderboard.html`` and ``trials/<id>.html``: pages that open from disk, without a network, under a strict CSP."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader

from ganbench.canonical import dumps
from ganbench.files import StoreError, leads_outside, make_folder, read_plain, remove, write_atomic
from ganbench.findings import Findings
from ganbench.kinds import Reporter
from ganbench.reporters import charts, rows, tradeoffs
from ganbench.reporters.curves import of_section
from ganbench.reporters.layout import PAIRS, Section, arrow, conditions, label, sections, seeds, warnings
from ganbench.reporters.pictures import MOST_BYTES, PLOT, last_samples
from ganbench.reporters.remarks import judged, overview, remarks
from ganbench.reporters.rows import COSTS, Shelf, Trial
from ganbench.reporters.trial_page import describe

PICTURES = 800_000  # bytes of a leaderboard's pictures, all together
FEWEST = 3_000  # bytes that each may have at least
OPENED = 80  # rows of a leaderboard up to which its curves are unfolded at once
_ENVIRONMENT = Environment(
    loader=PackageLoader("ganbench.reporters"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
_ENVIRONMENT.policies["json.dumps_kwargs"] = {"separators": (",", ":")}  # columns in their order
_MADE_OF = re.compile(rb'<meta name="ganbench-trial" content="([0-9a-f]{64})">')


class HtmlReporter(Reporter):
    name = "html"
    suffix = ".html"

    def write(self, leaderboard: pd.DataFrame, trials: pd.DataFrame, folder: Path) -> None:
        shelf = Shelf(folder, leaderboard.attrs.get("records", ()))
        write_atomic(folder / "leaderboard.html", to_html(leaderboard, trials, folder, shelf).encode())
        write_trials(trials, folder, shelf)


def to_html(leaderboard: pd.DataFrame, trials: pd.DataFrame, folder: Path, shelf: Shelf | None = None) -> str:
    """The page: for each section its table, courses of training, samples, and trials that failed.

    Samples are the last of the median seed, so nobody picked them. They are read from ``folder``; what is missing or
    broken there is left out.
    """
    shelf = shelf or Shelf(folder, leaderboard.attrs.get("records", ()))
    share = max(FEWEST, PICTURES // max(len(leaderboard), 1))
    opened = len(leaderboard) <= OPENED
    found: Findings | None = leaderboard.attrs.get("findings")
    return page(
        "leaderboard.html",
        pairs=PAIRS,
        sections=[_describe(section, trials, shelf, folder, share, opened) for section in sections(leaderboard)],
        across=overview(leaderboard),
        profiles=tradeoffs.profiles(found) if found is not None and len(found.across) else None,
        ranks=tradeoffs.ranks(found.across) if found is not None else None,
        trials=columns(trials),
    )


def page(template: str, **values: Any) -> str:
    """A page from its template, its style and script allowed by their hashes and nothing else."""
    style, script = _source("page.css"), _source("vendor/sortable.min.js") + _source("page.js")
    return _ENVIRONMENT.get_template(template).render(
        style=style,
        style_hash=_digest(style),
        script=script,
        script_hash=_digest(script),
        charts=charts,
        strip=rows,
        plot=PLOT,
        costs=COSTS,
        **values,
    )


def fragment(tables: Sequence[Mapping[str, Any]], note: str) -> str:
    """Tables (``title``, ``head``, ``rows``) without a page around them, as a notebook takes them."""
    return _ENVIRONMENT.get_template("fragment.html").render(tables=tables, note=note)


@cache
def _source(name: str) -> str:
    source: str = _ENVIRONMENT.loader.get_source(_ENVIRONMENT, name)[0]  # type: ignore[union-attr]
    return source


@cache
def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def columns(trials: pd.DataFrame) -> dict[str, Any]:
    """The table of trials for a program to read: of each column its values, or numbers of a list of distinct texts."""
    found: dict[str, Any] = {}
    for name in trials.columns:
        cells = [None if pd.isna(cell) else cell for cell in trials[name].tolist()]
        cells = [None if isinstance(cell, float) and not math.isfinite(cell) else cell for cell in cells]
        if all(isinstance(cell, str) for cell in cells) and (texts := list(dict.fromkeys(cells))):
            place = {text: i for i, text in enumerate(texts)}
            found[str(name)] = {"texts": texts, "index": [place[cell] for cell in cells]}
        else:
            found[str(name)] = cells
    return found


def _describe(
    section: Section, trials: pd.DataFrame, shelf: Shelf, folder: Path, share: int, opened: bool
) -> dict[str, Any]:
    mine = trials[(trials["dataset"] == section.dataset) & (trials["protocol"] == section.protocol)]
    own: dict[str, list[Trial]] = {}
    for about in mine.to_dict("records"):
        own.setdefault(str(about["variant"]), []).append(shelf.take({str(k): v for k, v in about.items()}))
    variants = [(variant, own.get(variant, [])) for variant in section.rows["variant"]]
    lines = rows.table(section, own, _set_aside(folder, section))
    return {
        "id": re.sub(r"[^A-Za-z0-9._-]", "-", f"{section.dataset}-{section.protocol}"),
        "dataset": section.dataset,
        "extractor": section.extractor,
        "protocol": section.protocol,
        "conditions": conditions(section),
        "versions": _versions(own),
        "warnings": warnings(section),
        "seeds": seeds(mine["seed"]),
        "metrics": [(metric, label(section, metric), arrow(section, metric)) for metric in section.metrics],
        "rows": lines,
        "groups": [
            group for group in ([r for r in lines if r["rank"] != ""], [r for r in lines if r["rank"] == ""]) if group
        ],
        "words": sorted({word for line in lines for word in line["words"].split()}),
        "floors": rows.floors(section, own),
        "remarks": remarks(section),
        "badges": [(line["variant"], word, reason) for line in lines for word, reason in line["badges"]],
        "figures": list(_figures(section, variants, folder, share)),
        "courses": of_section(section, variants),
        "tradeoffs": tradeoffs.of_section(section, variants),
        "opened": opened,
        "judged": judged(section, trials),
        "failures": [
            {"variant": variant, "seed": trial.seed, "page": trial.page, **trial.about}
            for variant, several in variants
            for trial in several
            if not trial.completed
        ],
    }


def _versions(own: Mapping[str, Sequence[Trial]]) -> str:
    """``torch 2.14.1, ganbench 0.1.0, Python 3.11.7``: what trained it, every version there is."""
    found: dict[str, set[str]] = {"ganbench": set(), "torch": set(), "Python": set()}
    for several in own.values():
        for trial in several:
            environment = (trial.record or {}).get("environment") or {}
            packages = environment.get("packages") or {}
            for name in ("ganbench", "torch"):
                found[name].add(str(packages.get(name) or "")[:40])
            found["Python"].add(str(environment.get("python") or "")[:40])
    told = {name: " and ".join(sorted(versions - {""})) for name, versions in found.items()}
    return ", ".join(f"{name} {versions}" for name, versions in told.items() if versions)


def _set_aside(folder: Path, section: Section) -> dict[str, int]:
    """How many trials of earlier code each variant has in ``superseded/``."""
    found: dict[str, int] = {}
    dataset = section.dataset.partition("@")[0]
    for path in (folder / "superseded").glob("*/*/seed-*"):
        if path.parts[-3] == dataset:
            found[path.parts[-2]] = found.get(path.parts[-2], 0) + 1
    return found


def _figures(
    section: Section, variants: Sequence[tuple[str, Sequence[Trial]]], folder: Path, share: int
) -> Iterator[dict[str, Any]]:
    """Samples of each variant's median seed as a picture or a scatter plot, and how long that trial took."""
    primary = section.metrics[0] if section.metrics else ""
    for key, (variant, own) in enumerate(variants):
        for trial in rows.by_median(own, primary):
            if trial.place and (drawn := last_samples(trial.place, folder, section.centres, share)):
                seconds = trial.cost.get("wall_seconds")
                yield {
                    **{"key": key, "variant": variant, "seed": trial.seed, "page": trial.page},
                    **{"seconds": "" if seconds is None else f"{seconds:,.0f}", "rows": 8, **drawn},
                }
                break


def write_trials(trials: pd.DataFrame, folder: Path, shelf: Shelf) -> None:
    """A page for each trial with a record; one that is up to date stays, one of a trial that is gone goes."""
    if not shelf.records:
        return
    place = folder / "trials"
    if leads_outside(place, folder):
        raise StoreError(f"{place} leads out of {folder} through a link; nothing is written there: remove the link")
    make_folder(place)
    written = set()
    for about in trials.to_dict("records"):
        trial = shelf.take({str(name): value for name, value in about.items()})
        if trial.record is None:
            continue
        path = place / f"{trial.about['trial']}.html"
        written.add(path.name)
        made_of = _made_of(trial)
        if _earlier(path) != made_of:
            write_atomic(path, page("trial.html", made_of=made_of, trial=describe(trial, folder)).encode())
    for path in place.glob("*.html"):
        if path.name not in written and _earlier(path):
            remove(path)


def _made_of(trial: Trial) -> str:
    """A hash over what a trial's page shows: its record and costs, and which pictures of which size it has.

    No time of a file is in it, so a page that was copied or checked out is not written again.
    """
    files = []
    if trial.place is not None:
        for pattern in ("samples/*", "pictures/*", "log.txt"):
            files += [[str(path.relative_to(trial.place)), path.lstat().st_size] for path in trial.place.glob(pattern)]
    templates = [_digest(_source(name)) for name in ("trial.html", "macros.html", "page.css")]
    about = {name: str(value) for name, value in trial.about.items()}
    text = dumps(
        [
            (trial.record or {}).get("sha256"),
            trial.record and trial.record["values"],
            about,
            trial.cost,
            sorted(files),
            templates,
        ]
    )
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _earlier(path: Path) -> str:
    """What the page that stands there was made of; nothing where none of ours does."""
    try:
        found = _MADE_OF.search(read_plain(path, MOST_BYTES)[:2000])
    except OSError:
        return ""
    return found[1].decode() if found else ""


reporter = HtmlReporter()
