"""Ratio of speed: training a DCGAN in ganbench, and in torchgan, torch-mimicry and vegans, each at its defaults.

    pip install --no-deps torchgan==0.1.0 torch-mimicry==0.1.16 vegans==0.4.0
    pip install tensorboard lmdb scikit-image matplotlib
    python benchmarks/peers.py                      # 28x28, width 32, batches of 64, one thread
    python benchmarks/peers.py --batches 64 --repeats 5

All train the networks of ganbench's ``dcgan`` on the same images of noise, for the same batches. Each peer gets them
through its own interface (networks in contiguous layout and Adam without fused kernels, which is what its users get),
through its own loader and with its own logging. ``bare`` is a loop written by hand with those switches too, and
``ganbench, equal`` the harness with them. Turns alternate in one process; a ratio is the median of the turns' ratios
of CPU seconds, bare or peer to ganbench.

None of the three runs with a current torch as it is. The shims, all in peer_trainers.py: torchgan calls ``make_grid``
with an argument that torchvision has renamed; torch-mimicry imports tensorflow for its metrics, and ``torch._six``;
vegans calls ``next`` as a method of a loader's iterator.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import os
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

from peer_trainers import BETAS, LATENT, LR, SHAPE, networks, scaled
from peer_trainers import MAKERS as PEERS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=40, help="of a turn")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("MPLBACKEND", "agg")
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (options.batches * options.batch_size, *SHAPE), dtype=torch.uint8, generator=rng)
    turns: dict[str, Callable[[], Any]] = {}
    for name, make in MAKERS.items():
        try:
            turns[name] = make(images, options)
            with quiet():
                turns[name]()  # warms up
        except Exception as reason:
            turns.pop(name, None)
            print(f"{name} is left out: {type(reason).__name__}: {reason}")
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for repeat in range(options.repeats):
        for name in list(turns)[repeat % len(turns) :] + list(turns)[: repeat % len(turns)]:
            start = time.process_time()
            with quiet():
                turns[name]()
            seconds[name].append(time.process_time() - start)
    print(f"{'trained by':>18} {'images per CPU second':>22} {'seconds, to ganbench':>21}")
    for name, spent in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(spent, seconds["ganbench"], strict=True))
        print(f"{name:>18} {len(images) / statistics.median(spent):22.0f} {ratio:21.2f}")


@contextlib.contextmanager
def quiet() -> Any:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def ganbench(images: Any, options: argparse.Namespace, equal: bool = False) -> Callable[[], Any]:
    import torch

    from ganbench.discovery.loader import discover
    from ganbench.harness.real_data import RealData
    from ganbench.harness.training import Training
    from ganbench.plugin.interfaces import Dataset, Extractor

    torch.manual_seed(0)
    dcgan = discover([("variant", "dcgan")]).get("variant", "dcgan").thing(torch.Size(SHAPE), width=options.width)
    if equal:
        dcgan.to(memory_format=torch.contiguous_format)
        for role in dcgan.optimizers:
            dcgan.optimizers[role] = torch.optim.Adam(getattr(dcgan, role).parameters(), lr=LR, betas=BETAS)
    dataset = Dataset("noise", SHAPE, None, "fid", len(images) * 10_000, lambda split: (images, None))
    about = {"budget_images": len(images) * 10_000, "batch_size": options.batch_size, "evaluations": 1, "seed": 0}
    real = RealData(dataset, Extractor("unused", 1, "0" * 64), samples=2)
    training = Training(dcgan, real, None, **about, environment="")  # type: ignore[arg-type]

    def turn() -> None:
        with training.telemetry:
            training.advance(training.telemetry.step + options.batches, math.inf)
        training.telemetry.gather()

    return turn


def bare(images: Any, options: argparse.Namespace) -> Callable[[], Any]:
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as bce

    g, d = networks(options)
    of_g, of_d = (torch.optim.Adam(network.parameters(), lr=LR, betas=BETAS) for network in (g, d))
    rows, n = scaled(images), options.batch_size
    one, zero = torch.ones(n, 1), torch.zeros(n, 1)

    def turn() -> None:
        for batch in torch.randperm(len(rows)).split(n):
            of_d.zero_grad()
            fake = g(torch.randn(n, LATENT))
            (bce(d(rows[batch]), one) + bce(d(fake.detach()), zero)).backward()
            of_d.step()
            of_g.zero_grad()
            bce(d(g(torch.randn(n, LATENT))), one).backward()
            of_g.step()

    return turn


MAKERS: dict[str, Callable[[Any, argparse.Namespace], Callable[[], Any]]] = {
    "ganbench": ganbench,
    "ganbench, equal": lambda images, options: ganbench(images, options, equal=True),
    "bare": bare,
    **PEERS,
}

if __name__ == "__main__":
    main()
