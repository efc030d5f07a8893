"""What checkpoints, and the look at the state around evaluations, take of a training's CPU seconds.

    python benchmarks/checkpoints.py                                   # states of 1 MB, 200 MB and 1 GB
    python benchmarks/checkpoints.py --other ../earlier --turns 2      # turns of another checkout between ours
    python benchmarks/checkpoints.py --megabytes 200 --seconds 120

A small GAN whose generator also holds a frozen table of the size that is asked for is trained on points for some
seconds, with the default seconds between checkpoints, in a process of its own. Its CPU seconds, of all threads, are
cut in three: those of its steps, those of evaluations (21 of 100 points, which themselves take next to nothing), and
the rest: checkpoints, and a few calls. A step is made to take a tenth of a second.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STEP = 0.1  # CPU seconds
EVALUATIONS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, nargs="*", default=[1, 200, 1000])
    parser.add_argument("--seconds", type=float, default=60.0, help="that a training takes beside its checkpoints")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--other", type=Path, help="a checkout of other code, which takes turns with this one")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(measure(options.one, options.seconds)))
        return
    here = Path(__file__).resolve().parents[1]
    checkouts = {"this": here} | ({"other": options.other.resolve()} if options.other else {})
    print(f"{'state, MB':>10} {'code':>6} {'checkpoints':>12} {'share':>8} {'evaluation, CPU ms':>19} {'wall, s':>8}")
    for size in options.megabytes:
        found: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
        for _ in range(options.turns):
            for name, checkout in checkouts.items():
                command = [sys.executable, __file__, "--one", str(size), "--seconds", str(options.seconds)]
                environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
                out = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, cwd=checkout)
                found[name].append(json.loads(out.stdout.splitlines()[-1]))
        for name, rows in found.items():
            middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
            print(
                f"{size:10d} {name:>6} {middle['checkpoints']:12.0f} {middle['share']:8.1%} "
                f"{middle['evaluation'] * 1e3:19.1f} {middle['wall']:8.1f}",
                flush=True,
            )


def measure(megabytes: int, seconds: float) -> dict[str, float]:
    """One training: checkpoints seen, their share of its CPU seconds, CPU seconds of an evaluation, and its time."""
    import torch
    from torch import nn

    from ganbench.harness.evaluation import Evaluator
    from ganbench.harness.real_data import RealData
    from ganbench.harness.training import Training
    from ganbench.plugin.gan import GAN
    from ganbench.plugin.interfaces import Dataset, Extractor

    torch.set_num_threads(1)
    spent = {"steps": 0.0, "evaluations": 0.0}
    written: set[int] = set()

    class Identity(Extractor):
        def __call__(self, batch: Any) -> Any:
            return batch, None

    class Table(GAN):
        name = "table"

        def build_generator(self) -> nn.Module:
            network = nn.Sequential(nn.Linear(self.latent_dim, 64), nn.ReLU(), nn.Linear(64, 2))
            parts = [nn.Parameter(torch.randn(megabytes << 15), requires_grad=False) for _ in range(8)]
            network.register_module("table", nn.ParameterList(parts))
            network.forward = lambda z: network[2](network[1](network[0](z)))  # type: ignore[method-assign]
            return network

        def build_discriminator(self) -> nn.Module:
            return nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 1))

        def train_step(self, batch: Any, clock: Any) -> Any:
            start = time.thread_time()
            losses = super().train_step(batch, clock)
            while time.thread_time() - start < STEP:
                torch.mm(square, square)
            if place.exists():
                written.add(place.stat().st_mtime_ns)
            spent["steps"] += time.thread_time() - start
            return losses

    square = torch.randn(256, 256)
    points = torch.randn(300, 2).numpy()
    dataset = Dataset("points", (2,), None, "fid", 960, lambda split: (points, None))
    real = RealData(dataset, Identity("identity", 2, "0" * 64), samples=100)
    steps = int(seconds / STEP)

    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        place = Path(folder) / "checkpoint.safetensors"
        variant = Table(torch.Size([2]), latent_dim=4)
        training = Training(
            variant,
            real,
            Evaluator(real, [], 0, 64),
            budget_images=steps * 64,
            batch_size=64,
            evaluations=EVALUATIONS,
            seed=0,
            environment="here",
        )
        evaluate = training.evaluate

        def timed(last: bool) -> Any:
            start = time.thread_time()
            try:
                return evaluate(last=last)
            finally:
                spent["evaluations"] += time.thread_time() - start

        training.evaluate = timed  # type: ignore[method-assign]
        cpu, wall = time.process_time(), time.monotonic()
        training.run(place, lambda entry, samples: None, lambda images: None)
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        written.add(place.stat().st_mtime_ns if place.exists() else 0)
    return {
        "checkpoints": len(written - {0}),
        "share": (cpu - sum(spent.values())) / cpu,
        "evaluation": spent["evaluations"] / (EVALUATIONS + 1),
        "wall": wall,
    }


if __name__ == "__main__":
    main()
