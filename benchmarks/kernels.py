"""What a CUDA graph of a training step would have to hold: kernels a step, and what changes from step to step.

    python benchmarks/kernels.py                    # all variants on points, 8x8 and 28x28
    python benchmarks/kernels.py --only dcgan,r1

No GPU is needed: the steps run on the pretended device of ``ganbench check``, which counts what a GPU would be asked
to do. A CUDA graph replays one list of kernels with the numbers that they were given when it was captured. So of the
steps that are watched, ``lists`` is how many different lists of kernels (names and shapes) they ask for, the commonest
first, and ``numbers`` names the operations that get other Python numbers in steps of one list: a replay would go on
with the first. The harness's own kernels (losses, and norms of gradients) are among them.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ganbench.conformance.pretended_device import Seen, pretended
from ganbench.conformance.pretended_device.rules import NO_KERNEL, short_name
from ganbench.discovery.loader import Catalog, discover
from ganbench.harness.build import build
from ganbench.harness.real_data import RealData
from ganbench.harness.training import Training
from ganbench.plugin.hyperparameters import resolve
from ganbench.plugin.interfaces import Dataset, Extractor
from ganbench.plugin.variant import Unsuitable
from ganbench.utils.seeding import pin, seed_everything

SHAPES = {"points": (2,), "8x8": (1, 8, 8), "28x28": (1, 28, 28)}
BATCH = 16
FEWER = {"gmm": {"capacity": 100, "components": 3}}  # its fit is scikit-learn's work, on the CPU
FIRST = 4  # optimizers make their states, and averages begin


class Asked(TorchDispatchMode):
    """Notes every operation on the device: its name with the shapes it takes, and its Python numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: list[str] = []
        self.numbers: list[tuple[float, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        name = short_name(func)
        if name not in NO_KERNEL and not func.is_view:
            flat = list(flatten([args, *(kwargs or {}).values()]))
            tensors = [tuple(one.shape) for one in flat if isinstance(one, torch.Tensor)]
            if any(one.device.type == "cuda" for one in flat if isinstance(one, torch.Tensor)):
                self.kernels.append(f"{name} {tensors}")
                self.numbers.append(tuple(one for one in flat if isinstance(one, float)))
        return found


def flatten(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from flatten(value)
        else:
            yield value


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", help="variants, by names with commas between")
    parser.add_argument("--steps", type=int, default=64, help="steps that are watched")
    options = parser.parse_args()
    pin(1)
    warnings.simplefilter("ignore")
    catalog = discover()
    names = options.only.split(",") if options.only else sorted(trained(catalog))
    print(f"{'data':>7} {'variant':>14} {'kernels':>8} {'waits':>6} {'copies':>7}  lists          numbers")
    for label, shape in SHAPES.items():
        for name in names:
            watch(label, shape, name, catalog, options.steps)


def trained(catalog: Catalog) -> list[str]:
    """The first-party variants that a reader of the results sees."""
    return [name for name in catalog.names("variant") if catalog.get("variant", name).thing.role == "variant"]


def watch(label: str, shape: tuple[int, ...], name: str, catalog: Catalog, steps: int) -> None:
    """Print one row."""
    cls = catalog.get("variant", name).thing
    with pretended("cuda") as seen:
        torch.manual_seed(0)
        try:
            training = prepare(cls, shape, steps)
        except Unsuitable:
            return
        with training.telemetry:
            training.advance(FIRST, math.inf)
            lists: Counter[tuple[str, ...]] = Counter()
            numbers: defaultdict[tuple[str, ...], list[list[tuple[float, ...]]]] = defaultdict(list)
            seen.clear()
            for step in range(FIRST, FIRST + steps):
                with Asked() as asked:
                    training.advance(step + 1, math.inf)
                lists[tuple(asked.kernels)] += 1
                numbers[tuple(asked.kernels)].append(asked.numbers)
    row(label, name, seen, lists, numbers, steps)


def row(label: str, name: str, seen: Seen, lists: Any, numbers: Any, steps: int) -> None:
    changing = {
        kernels[i].partition(" ")[0]
        for kernels, given in numbers.items()
        for i in range(len(kernels))
        if len({one[i] for one in given}) > 1
    }
    counts = ",".join(str(count) for _, count in lists.most_common(4)) + (",..." if len(lists) > 4 else "")
    print(
        f"{label:>7} {name:>14} {sum(len(kernels) * n for kernels, n in lists.items()) / steps:8.0f} "
        f"{sum(seen.waits.values()):6} {sum(seen.to_device.values()) + sum(seen.to_host.values()):7}  "
        f"{len(lists)}: {counts:<12} {', '.join(sorted(changing)) or '-'}",
        flush=True,
    )


def prepare(cls: Any, shape: tuple[int, ...], steps: int) -> Training:
    device = torch.device("cuda", 0)
    rng = torch.Generator().manual_seed(0)
    size = (64 * BATCH, *shape)
    rows = torch.randint(0, 256, size, dtype=torch.uint8, generator=rng) if len(shape) == 3 else torch.randn(size)
    labels = torch.arange(len(rows)) % 8
    dataset = Dataset("noise", shape, 8, "fid", (FIRST + steps) * BATCH, lambda split: (rows, labels))
    variant = build(cls, dataset, resolve(cls, FEWER.get(cls.name, {})), 0).to(device)
    seed_everything(0)
    return Training(
        variant,
        RealData(dataset, Extractor("unused", 1, "0" * 64), samples=2, device=device),
        evaluator=None,  # type: ignore[arg-type]
        budget_images=(FIRST + steps) * BATCH,
        batch_size=BATCH,
        evaluations=1,
        seed=0,
        environment="",
    )


if __name__ == "__main__":
    main()
