"""Time and memory of the tables of 10,000 trials.

    python benchmarks/leaderboard.py                    # the figures of docs/performance.md
    python benchmarks/leaderboard.py --tables           # without the pages of trials
    python benchmarks/leaderboard.py --trials 1000      # a tenth of it
    python benchmarks/leaderboard.py --profile          # and where the time of the tables goes

Every record is one of results/reference (21 evaluations, telemetry and all) under another identity and
with other scores, over 8 datasets, 25 variants and 50 seeds; a twentieth of them failed. They are written
as ``ganbench run`` writes them, and read and ranked as ``ganbench report`` does, which writes a page for each trial the
first time. Seconds are CPU seconds of this process; the disk's cache is warm. With --tables the records are never all
in memory, as in ``ganbench report``, and only that is measured.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ganbench.analysis.ranking import leaderboard
from ganbench.reporters import html
from ganbench.reporters.report import write_reports
from ganbench.results.schema import identify
from ganbench.results.store import read_records
from ganbench.utils.sealed_json import seal

REFERENCE = Path(__file__).parent.parent / "results" / "reference"
DATASETS, VARIANTS, SEEDS = 8, 25, 50


def records(trials: int) -> Iterator[dict[str, Any]]:
    """Records as real ones: of the datasets, variants and seeds in turn, until there are ``trials``."""
    template = min(REFERENCE.glob("digits/vanilla/seed-*/record.json"))
    text = template.read_text()
    rng = np.random.default_rng(0)
    seeds = max(round(trials / DATASETS / VARIANTS), 1)
    for number in range(trials):
        place, seed = divmod(number, seeds)
        variant, dataset = divmod(place, DATASETS)
        record = json.loads(text)
        trial = record["identity"]["trial"]
        trial |= {"dataset": f"dataset-{dataset}", "variant": f"variant-{variant:02}", "seed": seed}
        record["identity"] = identify(trial, record["identity"]["evaluation"])
        record["label"] = trial["variant"]
        factor = float(np.exp(0.2 * (variant % 12) + 0.3 * rng.normal()))
        for evaluation in record["evaluations"][1:]:
            evaluation["watch"]["fid"] *= factor * float(np.exp(0.05 * rng.normal()))
        record["values"] = {name: None if v is None else v * factor for name, v in record["values"].items()}
        if rng.random() < 0.05:
            record |= {"status": "crashed", "reason": "the process ended by signal 9", "values": {}}
            record["evaluations"] = record["evaluations"][:10]
        yield record


def timed(what: str, call: Callable[[], Any]) -> Any:
    wall, cpu = time.perf_counter(), time.process_time()
    found = call()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"| {what} | {cpu:.1f} | {wall:.1f} | {peak():,.0f} |", flush=True)
    return found


def peak() -> float:
    """Peak memory of this process so far, in MiB."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=DATASETS * VARIANTS * SEEDS)
    parser.add_argument("--tables", action="store_true", help="only what is written but for the pages of trials")
    parser.add_argument("--profile", action="store_true", help="say where the time of the leaderboard goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        size = 0
        for record in records(options.trials):
            identity, trial = record["identity"], record["identity"]["trial"]
            place = root / trial["dataset"] / trial["variant"] / f"seed-{trial['seed']}-{identity['id']}"
            place.mkdir(parents=True)
            size += (place / "record.json").write_bytes(seal(record).encode())
        print(f"{options.trials:,} records, {size / 1e6:,.0f} MB on disk\n")
        print("| what | CPU seconds | wall seconds | peak MiB |\n|---|---|---|---|")
        if options.tables:
            html.write_trials = lambda *_: None
            timed(
                "all of `ganbench report`, but for the pages of trials",
                lambda: write_reports(root, ("csv", "html", "md")),
            )
        else:
            contents = timed("read and verify the records", lambda: read_records(root))
            assert len(contents.records) == options.trials and not contents.problems, contents.problems[:3]
            held = contents.records
            timed("`ganbench.leaderboard` of the records", lambda: leaderboard(held))
            if options.profile:
                with cProfile.Profile() as profile:
                    leaderboard(held)
                pstats.Stats(profile).sort_stats("cumulative").print_stats(30)
            for what in ("the first time, with a page for each trial", "again, those pages being up to date"):
                timed(f"all of `ganbench report`, {what}", lambda: write_reports(root, ("csv", "html", "md")))
    assert "torch" not in sys.modules
    print("\ntorch was not imported")


if __name__ == "__main__":
    main()
