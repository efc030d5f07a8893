"""Ratio of speed: ten seeds of a GAN one after the other, and all in one computation (``--engine seeds``).

    python benchmarks/seeds.py                       # from points to images, one thread
    python benchmarks/seeds.py --only width-32 --steps 2000

The two engines take turns of some steps in one process; the ratio is the median of the turns' ratios of CPU seconds,
telemetry included, evaluations and the tracing (in a column of its own, once a job) left out. MFLOP counts what one
seed's step multiplies and adds; ``predicted`` is what ganbench decides by whether it pays.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
from typing import Any

GAMES: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "width-32": ("vanilla", (2,), {"width": 32}),
    "width-64": ("vanilla", (2,), {"width": 64}),
    "width-128": ("vanilla", (2,), {"width": 128}),
    "width-256": ("vanilla", (2,), {}),
    "r1": ("r1", (2,), {}),
    "wgan-gp": ("wgan-gp", (2,), {}),
    "mlp-8": ("vanilla", (1, 8, 8), {}),
    "mlp-28": ("vanilla", (1, 28, 28), {}),
    "dcgan-8": ("dcgan", (1, 8, 8), {"width": 8}),
    "dcgan-8-wide": ("dcgan", (1, 8, 8), {}),
}
SEEDS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=list(GAMES))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    torch.set_num_threads(1)
    print(
        f"{'game':>13} {'MFLOP':>6} {'serial, ms':>10} {'trace, s':>8} {'ratio':>6} {'quartiles':>13} {'predicted':>9}"
    )
    for name in GAMES if options.only is None else [options.only]:
        compare(name, options.steps, max(1, options.steps // options.turns), options.batch_size)


def compare(name: str, steps: int, chunk: int, size: int) -> None:
    """Print one row: milliseconds a step of one seed, and how many times as fast ten go together."""
    import torch

    from ganbench.harness.seeds_engine.cohort import expected_speedup, step_flops
    from ganbench.harness.seeds_engine.lockstep import Lockstep

    variant, shape, settings = GAMES[name]
    alone, beside = (trainings(variant, shape, settings, steps, size) for _ in range(2))
    generators = [torch.Generator().manual_seed(seed) for seed in range(SEEDS)]
    start = time.process_time()
    stack = Lockstep(beside, generators)
    stack.advance(1, math.inf)
    traced = time.process_time() - start
    rows = []
    for turn in range(1, steps // chunk):
        start = time.process_time()
        for training in alone:
            with training.telemetry:
                training.advance(turn * chunk, math.inf)
        middle = time.process_time()
        stack.advance(turn * chunk, math.inf)
        rows.append((middle - start, time.process_time() - middle))
    flops = step_flops(stack.stack, torch.zeros(SEEDS, size, *shape))
    rows = rows[1:]
    ratios = [a / b for a, b in rows]
    low, _, high = statistics.quantiles(ratios, n=4)
    print(
        f"{name:>13} {flops / 1e6:6.1f} {statistics.median(a for a, _ in rows) / SEEDS / chunk * 1e3:10.3f} "
        f"{traced:8.2f} {statistics.median(ratios):6.2f} {low:6.2f}-{high:.2f} {expected_speedup(flops, SEEDS):9.2f}",
        flush=True,
    )


def trainings(variant: str, shape: tuple[int, ...], settings: dict[str, Any], steps: int, size: int) -> list[Any]:
    """Ten seeds at their beginning, on noise."""
    import torch

    from ganbench.discovery.loader import discover
    from ganbench.harness.real_data import RealData
    from ganbench.harness.training import Training
    from ganbench.plugin.interfaces import Dataset, Extractor

    rng = torch.Generator().manual_seed(0)
    is_image = len(shape) == 3
    rows = torch.randint(0, 256, (4000, *shape), dtype=torch.uint8, generator=rng) if is_image else None
    rows = torch.randn(4000, *shape, generator=rng) if rows is None else rows
    real = RealData(
        Dataset("noise", shape, None, "fid", steps * size, lambda split: (rows, None)),
        Extractor("unused", 1, "0" * 64),
        samples=2,
    )
    cls = discover([("variant", variant)]).get("variant", variant).thing
    found = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        about = {"budget_images": steps * size, "batch_size": size, "evaluations": 1, "seed": seed, "environment": ""}
        found.append(Training(cls(torch.Size(shape), **settings), real, None, **about))  # type: ignore[arg-type]
    return found


if __name__ == "__main__":
    main()
