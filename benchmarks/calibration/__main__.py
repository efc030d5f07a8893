"""Calibrate the stability verdict, or count its false alarms in a results folder.

    python benchmarks/calibration FOLDER [--seeds N]     train every setting of settings.py in FOLDER, and report
    python benchmarks/calibration FOLDER --alarms        healthy trials of a results folder that are called unstable

The first trains up to N seeds of each setting (16 by default, some 45 minutes on two cores); stopped, the same
command continues. Thresholds may be set on the first eight; the others say how good they are. Then it writes
``--out``: ``trials.csv`` (every trial: what is known of it, its verdict, its measures) and ``README.md`` (what
the verdict made of each setting, and how far each threshold is from a mistake).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from alarms import alarms
from judge import read, rows
from report import write
from training import train

RESULTS = Path(__file__).parents[2] / "results" / "calibration"


def main(folder: Path, seeds: int, out: Path) -> None:
    train(folder, seeds)
    trials = read(folder)
    table = pd.DataFrame(rows(trials)).astype({"verdict_step": "Int64", "planted_step": "Int64"})
    out.mkdir(parents=True, exist_ok=True)
    # Six digits: enough to judge again, and a third of the size.
    table.to_csv(out / "trials.csv", index=False, float_format="%.6g", lineterminator="\n")
    write(out / "README.md", table, [trial for trial in trials if trial.group == "set"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=16, help="of each setting")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where trials.csv and README.md are written")
    parser.add_argument("--alarms", action="store_true", help="train nothing; count false alarms in a results folder")
    options = parser.parse_args()
    if options.alarms:
        print(alarms(options.folder), end="")
    else:
        main(options.folder, options.seeds, options.out)
