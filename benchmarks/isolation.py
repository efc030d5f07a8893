"""What a process of its own costs a trial: seconds from submission to result that are not the trial's own.

    python benchmarks/isolation.py [trials]

The first trials, which start the forkserver, do not count. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from ganbench.executors import Job
from ganbench.executors.local import LocalExecutor
from ganbench.results.spec import Planned
from ganbench.runner.planning import Request, plan
from ganbench.runner.preflight import ask

WARM_UP = 2
LIMIT = 0.15


def main(trials: int) -> None:
    engine = LocalExecutor(jobs=1, threads=1, options={})
    request = Request(
        ("noise",),
        ("ring8",),
        tuple(range(WARM_UP + trials)),
        images=64,
        evaluations=1,
        samples=100,
        metrics=("coverage",),
    )
    planned = plan(request, lambda payloads: ask(engine, payloads)).trials
    with tempfile.TemporaryDirectory() as folder:
        costs = [cost(engine, trial, Path(folder) / str(i)) for i, trial in enumerate(planned)][WARM_UP:]
    engine.close()
    median = statistics.median(costs)
    print(f"{trials} trials: median {median:.3f} s, least {min(costs):.3f} s, most {max(costs):.3f} s a trial")
    sys.exit(median > LIMIT)


def cost(engine: LocalExecutor, trial: Planned, folder: Path) -> float:
    payload = {
        "kind": "trial",
        "spec": trial.spec.payload(),
        "metrics": list(trial.metrics),
        "folder": str(folder),
        "log": str(folder / "log.txt"),
        "device": trial.device,
        "threads": 1,
    }
    start = time.perf_counter()
    result = engine.submit(Job(payload)).result()
    seconds = time.perf_counter() - start
    if result["status"] != "completed":
        sys.exit(f"the trial failed: {result['reason']}")
    return seconds - float(result["cost"]["wall_seconds"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trials", type=int, nargs="?", default=30)
    main(parser.parse_args().trials)
