"""Calibrate the stability verdict: python benchmarks/calibration FOLDER

Trains every setting of ``settings.py`` in FOLDER, about two core-hours; stopped, the same command continues. Then
writes results/calibration: ``trials.csv`` (every trial: what is known of it, its verdict, its measures) and
``README.md`` (what the verdict made of each setting, and how far each threshold is from a mistake).
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from judge import read, rows
from report import write
from training import train

RESULTS = Path(__file__).parents[2] / "results" / "calibration"


def main(folder: Path) -> None:
    train(folder)
    trials = read(folder)
    table = pd.DataFrame(rows(trials)).astype({"verdict_step": "Int64", "planted_step": "Int64"})
    RESULTS.mkdir(parents=True, exist_ok=True)
    # Six digits: enough to judge again, and a third of the size.
    table.to_csv(RESULTS / "trials.csv", index=False, float_format="%.6g", lineterminator="\n")
    write(RESULTS / "README.md", table, [trial for trial in trials if trial.group == "set"])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
