"""How soon a mistake on the command line is told: wall and CPU seconds of whole processes, the median of some turns.

python benchmarks/mistakes.py
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

RUN = ["run", "-p", "dcgan"]
MISTAKES = {
    "a misspelt variant": ["run", "-p", "dcgna"],
    "a misspelt dataset": [*RUN, "-d", "FashionMNIST"],
    "a misspelt metric": [*RUN, "-m", "fdi"],
    "a misspelt extractor": [*RUN, "--extractor", "inceptoin"],
    "a misspelt hyperparameter": [*RUN, "--set", "dcgan.rl=1e-4"],
    "a value that is none": [*RUN, "--set", "dcgan.lr=fast"],
    "a misspelt executor": [*RUN, "--executor", "loca"],
    "a device of no kind": [*RUN, "--device", "gpu"],
    "a device that is not here": [*RUN, "--device", "cuda:9"],
    "a file as --results": [*RUN, "--results", sys.executable],
    "score: a misspelt metric": ["score", "--real", "digits", "--fake", "digits:train", "-m", "fdi"],
    "tune: a misspelt hyperparameter": ["tune", "-p", "dcgan", "--set", "dcgan.rl=1e-4"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    seconds: dict[str, list[tuple[float, float]]] = {title: [] for title in MISTAKES}
    with tempfile.TemporaryDirectory() as place:
        for _ in range(options.turns):
            for title, words in MISTAKES.items():
                before, start = os.times(), time.perf_counter()
                command = [sys.executable, "-m", "ganbench", *words]
                done = subprocess.run(command, cwd=place, capture_output=True, text=True)
                after = os.times()
                if done.returncode != 2:
                    raise SystemExit(f"{title}: exit code {done.returncode}: {done.stderr}")
                cpu = after.children_user + after.children_system - before.children_user - before.children_system
                seconds[title].append((time.perf_counter() - start, cpu))
    for title, found in seconds.items():
        wall, cpu = (statistics.median(one[i] for one in found) for i in (0, 1))
        print(f"{title:32} {wall:5.1f} s, {cpu:5.1f} CPU s")


if __name__ == "__main__":
    main()
