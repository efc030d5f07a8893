"""How much of the cores a sweep spends on training, and what its driver costs.

    python benchmarks/sweep.py                      # 40 trials of about 5 s on two cores
    python benchmarks/sweep.py --game dcgan
    python benchmarks/sweep.py --trials 12 --jobs 2

``ganbench run`` trains ``vanilla``, width 64, on ring8, or ``dcgan`` on digits, into an empty folder. Printed are the
seconds that trials spent in their training steps, and in steps and evaluations, over cores times wall time from start
to tables; the driver's own CPU seconds over wall time. Steps are the harness's: ``loop.py`` has their ratio to bare
ones (``points-64``, ``dcgan-8``). Other work on the machine slows all of these alike, but for the driver's share.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GAMES = {
    "vanilla": (200_000, ("--datasets", "ring8", "--set", "vanilla.width=64")),
    "dcgan": (38_400, ("--datasets", "digits")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--game", choices=list(GAMES), default="vanilla")
    parser.add_argument("--images", type=int, help="of a trial, by default what takes about 5 s")
    parser.add_argument("--evaluations", type=int, default=5)
    options = parser.parse_args()
    images, words = GAMES[options.game]
    with tempfile.TemporaryDirectory() as folder:
        sizes = f"--seeds {options.trials} --images {options.images or images} --evaluations {options.evaluations}"
        command = f"-m ganbench run --plugins {options.game} {sizes} --jobs {options.jobs} --results".split()
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *command, folder, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        driver = 0.0
        while process.poll() is None:
            driver = max(driver, own_seconds(process.pid))
            time.sleep(0.2)
        wall = time.perf_counter() - start
        costs = [json.loads(path.read_bytes()) for path in Path(folder).rglob("cost.json")]
    if process.returncode or len(costs) != options.trials:
        sys.exit(f"the sweep ended with exit code {process.returncode} and {len(costs)} trials")
    training = sum(cost["training_seconds"] for cost in costs)
    both = training + sum(cost["evaluation_seconds"] for cost in costs)
    cores = options.jobs * wall
    print(
        f"{options.trials} trials of {sum(cost['wall_seconds'] for cost in costs) / options.trials:.1f} s: {wall:.1f} s"
    )
    print(f"in training steps {training / cores:.3f}, in steps and evaluations {both / cores:.3f} of the cores' time")
    print(f"driver: {driver:.2f} CPU seconds, {driver / wall:.3f} of a core")


def own_seconds(pid: int) -> float:
    """User and system seconds of a process without its children."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
