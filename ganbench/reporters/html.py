"""``leaderboard.html`` and ``trials/<id>.html``: pages that open from disk, without a network, under a strict CSP."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader

from ganbench.plugin.interfaces import Reporter
from ganbench.plugin.report import Report
from ganbench.reporters import charts, leaderboard_charts, leaderboard_page, leaderboard_rows, trial_page
from ganbench.reporters.glossary import COMPARED, TABLE, TRAINING, explained
from ganbench.reporters.leaderboard_rows import FIGURES
from ganbench.reporters.pictures import PLOT
from ganbench.reporters.sections import HEADINGS, PAIRS, sections
from ganbench.reporters.sentences import across_datasets
from ganbench.reporters.trials import Trial, TrialIndex
from ganbench.utils.canonical_json import dumps
from ganbench.utils.files import StoreError, leads_outside, make_folder, open_plain, remove, write_atomic

OPENED = 80  # rows of a leaderboard up to which its curves are unfolded at once
_ENVIRONMENT = Environment(
    loader=PackageLoader("ganbench.reporters"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
_ENVIRONMENT.policies["json.dumps_kwargs"] = {"separators": (",", ":")}  # columns in their order
_MADE_OF = re.compile(rb'<meta name="ganbench-trial" content="([0-9a-f]{64})">')


class HtmlReporter(Reporter):
    name = "html"
    suffix = ".html"

    def write_report(self, report: Report, folder: Path) -> None:
        write_atomic(folder / "leaderboard.html", to_html(report, folder).encode())
        write_trials(report, folder)


def to_html(report: Report, folder: Path, pages: bool = True) -> str:
    """The leaderboard page: for each section its table, training curves, samples, and trials that failed.

    Samples are the last of the median seed, so nobody picked them. They are read from ``folder``; what is missing or
    broken there is left out. ``pages``: whether it links to a page a trial.
    """
    index, found = TrialIndex(folder, report.records), report.findings
    across = found.across.table["variant"] if found is not None else ()
    keys = {str(name): key for key, name in enumerate(dict.fromkeys([*report.leaderboard["variant"], *across]))}
    described = [leaderboard_page.describe(section, index, keys) for section in sections(report)]
    leaderboard_page.add_samples(described, folder)
    repeated = Counter(section["dataset"] for section in described)
    return page(
        "leaderboard.html",
        pairs=PAIRS,
        sections=described,
        repeated={dataset for dataset, times in repeated.items() if times > 1},
        opened=len(report.leaderboard) <= OPENED,
        headings=HEADINGS,
        pages=pages,
        keys=keys,
        words=explained([TABLE, TRAINING, COMPARED], (m for s in described for m, *_ in s["metrics"])),
        across=across_datasets(report),
        profiles=leaderboard_charts.performance_profiles(found.profiles, keys) if found is not None else None,
        ranks=leaderboard_charts.critical_difference_diagram(found.across) if found is not None else None,
        trials=embedded_table(report.trials),
    )


def page(template: str, **values: Any) -> str:
    """A page from its template, its style and script allowed by their hashes and nothing else."""
    style, script = _source("page.css"), _source("vendor/sortable.min.js") + _source("page.js")
    film, live = _source("film.js"), _source("live.js")
    return _ENVIRONMENT.get_template(template).render(
        style=style,
        style_hash=_digest(style),
        script=script,
        script_hash=_digest(script),
        film=film,
        film_hash=_digest(film),
        live=live,
        live_hash=_digest(live),
        charts=charts,
        strip=leaderboard_rows,
        plot=PLOT,
        figures=FIGURES,
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


def embedded_table(trials: pd.DataFrame) -> dict[str, Any]:
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


def write_trials(report: Report, folder: Path) -> None:
    """A page for each trial with a record; one that is up to date stays, one of a trial that is gone goes."""
    if not report.records:
        return
    place = folder / "trials"
    if leads_outside(place, folder):
        raise StoreError(f"{place} leads out of {folder} through a link; nothing is written there: remove the link")
    make_folder(place)
    written, index = set(), TrialIndex(folder, report.records)
    for about in report.trials.to_dict("records"):
        trial = index.find(about)
        if trial.record is None:
            continue
        path = place / f"{trial.about['trial']}.html"
        written.add(path.name)
        made_of = _fingerprint(trial)
        if _fingerprint_in(path) != made_of:
            described = trial_page.describe(index.whole(trial), folder)
            write_atomic(path, page("trial.html", made_of=made_of, trial=described).encode())
    for path in place.glob("*.html"):
        if path.name not in written and _fingerprint_in(path):
            remove(path)


def _fingerprint(trial: Trial) -> str:
    """A hash over what a trial's page shows: its record and costs, and which pictures of which size it has.

    No time of a file is in it, so a page that was copied or checked out is not written again.
    """
    files = []
    if trial.place is not None:
        for pattern in ("samples/*", "film/*", "pictures/*", "log.txt"):
            files += [[str(path.relative_to(trial.place)), path.lstat().st_size] for path in trial.place.glob(pattern)]
    sources = ("trial.html", "macros.html", "glossary.toml", "page.css", "film.js")
    templates = [_digest(_source(name)) for name in sources]
    about = {name: str(value) for name, value in trial.about.items()}
    text = dumps(
        [
            trial.record and trial.record.sha256,
            trial.record and trial.record.values,
            about,
            trial.cost,
            sorted(files),
            templates,
        ]
    )
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _fingerprint_in(path: Path) -> str:
    """The hash of what the page at ``path`` was made of, which the page holds; "" where there is none of ours."""
    try:
        with open_plain(path) as file:
            found = _MADE_OF.search(file.read(2000))
    except OSError:
        return ""
    return found[1].decode() if found else ""


reporter = HtmlReporter()
