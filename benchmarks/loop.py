"""Ratio of speed: training in the harness, and a bare loop written by hand, step for step.

    python benchmarks/loop.py                       # all games, 1,000 steps each, one thread
    python benchmarks/loop.py --only points --steps 4000 --profile
    python benchmarks/loop.py --only dcgan-28 --precision bf16     # against the harness in fp32, not the bare loop

Both train the same networks on the same data with the same optimizers, memory format and seeds; in the end their
weights must be equal to the last bit, or the script stops. They take turns of some steps in one process, and the
ratio is the median of the turns' ratios of CPU seconds, harness to bare. ``by hand`` is the ratio to a bare loop that,
as the harness does, sets gradients to None itself instead of calling ``zero_grad``. Two bare loops take turns as well:
how far their ratio is from 1 is what this machine can tell apart. Evaluations are left out: there are none. Images are
noise, which costs what pictures cost.
"""

from __future__ import annotations

import argparse
import cProfile
import math
import os
import pstats
import statistics
import time
from typing import Any

Game = tuple[str, tuple[int, ...], dict[str, Any]]  # a variant, the shape of a sample, and hyperparameters


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=list(GAMES))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--profile", action="store_true", help="where the harness spends its time, instead of ratios")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    torch.set_num_threads(1)
    print(
        f"{'game':>10} {'bare, ms/step':>14} {'harness / bare':>15} {'quartiles':>15} {'by hand':>8} "
        f"{'bare / bare':>12}"
    )
    for name in GAMES if options.only is None else [options.only]:
        compare(name, options)


def compare(name: str, options: argparse.Namespace) -> None:
    """Print one row."""
    import torch

    game = GAMES[name]
    chunk = max(1, options.steps // options.turns)
    size, wide = options.batch_size, options.precision == "fp32"
    loops: list[Any] = [Harness(game, size, options.steps, options.precision)]
    others = ({}, {"by_hand": True}, {}) if wide else ({}, {}, {})
    loops += [Bare(game, size, **one) if wide else Harness(game, size, options.steps) for one in others]
    if options.profile:
        profile = cProfile.Profile()
        profile.runcall(loops[0], options.steps)
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    states = [torch.get_rng_state()] * 4
    for i, loop in enumerate(loops):
        states[i] = loop.rng
    rows = []
    for turn in range(options.steps // chunk):
        seconds = [0.0] * 4
        for i in sorted(range(4), key=lambda i: (i + turn) % 4):  # nobody is always first
            torch.set_rng_state(states[i])
            start = time.process_time()
            loops[i](chunk)
            seconds[i] = time.process_time() - start
            states[i] = torch.get_rng_state()
        rows.append(seconds)
    for loop in loops[1:] if wide else ():
        pairs = zip(loops[0].variant.parameters(), loop.variant.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs), "the loops do not train the same weights"
    rows = rows[1:]  # the first turn warms up
    ratios = [row[0] / row[1] for row in rows]
    low, _, high = statistics.quantiles(ratios, n=4)
    by_hand, spread = statistics.median(row[0] / row[2] for row in rows), statistics.median(r[3] / r[1] for r in rows)
    print(
        f"{name:>10} {statistics.median(row[1] for row in rows) / chunk * 1e3:14.3f} {statistics.median(ratios):15.3f} "
        f"{low:7.3f}-{high:.3f} {by_hand:8.3f} {spread:12.3f}",
        flush=True,
    )


def data(shape: tuple[int, ...]) -> Any:
    """4,000 rows of noise: uint8 images, or float32 points."""
    import torch

    rng = torch.Generator().manual_seed(0)
    if len(shape) == 3:
        return torch.randint(0, 256, (4000, *shape), dtype=torch.uint8, generator=rng)
    return torch.randn(4000, *shape, generator=rng)


def build(game: Game) -> Any:
    """A variant with the weights that seed 0 gives."""
    import torch

    from ganbench.discovery.loader import discover

    torch.manual_seed(0)
    cls, shape, settings = game
    return discover([("variant", cls)]).get("variant", cls).thing(torch.Size(shape), **settings)


class Harness:
    """ganbench's own loop."""

    def __init__(self, game: Game, size: int, steps: int, precision: str = "fp32") -> None:
        import torch

        from ganbench.harness.real_data import RealData
        from ganbench.harness.training import Training
        from ganbench.plugin.interfaces import Dataset, Extractor

        rows = data(game[1])
        dataset = Dataset("noise", game[1], None, "fid", steps * size, lambda split: (rows, None))
        self.variant = build(game)
        self.rng = torch.manual_seed(1).get_state()
        self.training = Training(
            self.variant,
            RealData(dataset, Extractor("unused", 1, "0" * 64), samples=2),
            evaluator=None,  # type: ignore[arg-type]
            budget_images=steps * size,
            batch_size=size,
            evaluations=1,
            seed=0,
            environment="",
            precision=precision,
        )
        self.gathered = 0

    def __call__(self, steps: int) -> None:
        from ganbench.harness.precision import autocast

        telemetry = self.training.telemetry
        with telemetry, autocast(self.training.real.device, self.training.precision):
            self.training.advance(telemetry.step + steps, math.inf)
        if telemetry.step - self.gathered >= self.training.steps // 20:  # as often as evaluations ask for them
            telemetry.gather()
            self.gathered = telemetry.step


class Bare:
    """What one would write without a harness."""

    def __init__(self, game: Game, size: int, by_hand: bool = False) -> None:
        import torch

        self.variant, self.by_hand = build(game), by_hand
        self.rng = torch.manual_seed(1).get_state()
        self.rows, self.size, self.seen, self.epoch = data(game[1]), size, 0, -1

    def __call__(self, steps: int) -> None:
        import torch
        from torch.nn.functional import softplus

        g, d = self.variant.generator, self.variant.discriminator
        of_g, of_d = self.variant.optimizers["generator"], self.variant.optimizers["discriminator"]
        weights_g, weights_d = list(g.parameters()), list(d.parameters())
        latent, size, is_image = self.variant.latent_dim, self.size, self.rows.dtype == torch.uint8
        for _ in range(steps):
            real = self.rows[self.next_rows()]
            if is_image:
                real = real.float() / 127.5 - 1
            with torch.no_grad():
                fake = g(torch.randn(size, latent))
            loss = (softplus(-d(real).flatten()) + softplus(d(fake).flatten())).mean()
            self.zero(of_d, weights_d)
            loss.backward(inputs=weights_d)
            of_d.step()
            loss = softplus(-d(g(torch.randn(size, latent))).flatten()).mean()
            self.zero(of_g, weights_g)
            loss.backward(inputs=weights_g)
            of_g.step()

    def zero(self, optimizer: Any, weights: list[Any]) -> None:
        if not self.by_hand:
            optimizer.zero_grad()
            return
        for weight in weights:
            weight.grad = None

    def next_rows(self) -> Any:
        import torch

        from ganbench.utils.seeding import derive

        parts, missing = [], self.size
        while missing:
            epoch, offset = divmod(self.seen, len(self.rows))
            if epoch != self.epoch:
                self.epoch = epoch
                rng = torch.Generator().manual_seed(derive(0, "data-order", epoch))
                self.order = torch.randperm(len(self.rows), generator=rng)
            parts.append(self.order[offset : offset + missing])
            missing -= len(parts[-1])
            self.seen += len(parts[-1])
        return parts[0] if len(parts) == 1 else torch.cat(parts)


GAMES: dict[str, Game] = {
    "points": ("vanilla", (2,), {}),
    "points-64": ("vanilla", (2,), {"width": 64}),  # that of benchmarks/sweep.py
    "mlp-28": ("vanilla", (1, 28, 28), {}),
    "dcgan-8": ("dcgan", (1, 8, 8), {}),
    "dcgan-28": ("dcgan", (1, 28, 28), {"width": 32}),
}

if __name__ == "__main__":
    main()
