"""What of a results folder is kept in the repository: every record and table, and the samples that the page shows.

    python benchmarks/slim.py results/reference

For good it removes trained states, histories (each record holds its own), logs, the pages of single trials, their
pictures and films, and all samples but the last of each variant's median seed, of points the first 400. Then it writes
tables and leaderboard again from what is left, so that ``ganbench verify --records-only`` finds nothing to complain of.
``ganbench report`` writes the pages of trials again, without the pictures that are gone.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

from ganbench.plugin.report import Report
from ganbench.reporters import DEFAULT
from ganbench.reporters.html import to_html
from ganbench.reporters.pictures import sample_pictures
from ganbench.reporters.report import write_reports
from ganbench.reporters.sections import sections
from ganbench.reporters.trials import TrialIndex, median_first
from ganbench.utils.files import write_atomic

POINTS = 400


def shown(report: Report, folder: Path) -> Iterator[Path]:
    """The folder of each variant's median seed, section by section: those whose samples are on the page."""
    index = TrialIndex(folder, report.records)
    for section in sections(report):
        for _, own in section.trials.groupby("variant"):
            for trial in median_first([index.find(about) for about in own.to_dict("records")], section.metrics[0])[:1]:
                if trial.place is not None:
                    yield trial.place


def slim(place: Path, kept: bool) -> None:
    """Remove what is not kept of a trial; ``kept``: its last samples are."""
    for name in ("state.safetensors", "history.csv", "log.txt"):
        (place / name).unlink(missing_ok=True)
    for name in ("pictures", "film"):
        shutil.rmtree(place / name, ignore_errors=True)
    if not kept:
        shutil.rmtree(place / "samples", ignore_errors=True)
        return
    for _, path in sample_pictures(place)[:-1]:
        path.unlink()
    points = place / "samples" / "points.csv"
    if points.is_file():
        head, *rows = points.read_text().splitlines()
        seen = rows[-1].partition(",")[0]
        last = [row for row in rows if row.partition(",")[0] == seen][:POINTS]
        points.write_text("\n".join([head, *last]) + "\n")


def main(folder: Path) -> None:
    report = write_reports(folder, ["csv"]).report
    kept = set(shown(report, folder))
    for record in folder.glob("*/*/seed-*/record.json"):
        slim(record.parent, record.parent in kept)
    report = write_reports(folder, list(DEFAULT)).report
    write_atomic(folder / "leaderboard.html", to_html(report, folder, pages=False).encode())
    shutil.rmtree(folder / "trials")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{len(report.trials)} trials, samples of {len(kept)}: {size / 1e6:.1f} MB in {folder}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    main(parser.parse_args().results)
