"""Are samples ranked as they should be? Samples whose truth is known, and what the metrics that rank say of them.

    python benchmarks/truths.py             # the figures of docs/metrics.md, a minute on one core
    python benchmarks/truths.py --seeds 3
    python benchmarks/truths.py --points --stacked stacked-mnist    # five, and the files of MNIST

Points: the data drawn anew, narrower and wider modes, one point a mode, half of the modes, noise, a constant. Stacked
digits: real ones, cut down to so many of the 1,000 classes, and uniform noise, as the classifier counts them. Prints
Markdown: mean over seeds, ± the standard deviation.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch

from ganbench.discovery.loader import discover
from ganbench.metrics import class_coverage, density_coverage, mode_coverage, recovered_mass

SAMPLES = 2_500  # as a run scores of points


def points(name: str, seeds: int) -> list[list[str]]:
    """Rows of recovered mass, coverage, mode_kl, modes and high quality on a dataset of points."""
    dataset = discover([("dataset", name)]).get("dataset", name).thing
    real, _ = dataset.load("test")
    centres, std = dataset.centres, dataset.std

    def draw(rng: np.random.Generator, width: float = 1.0, modes: int = len(centres)) -> np.ndarray:
        return centres[rng.integers(0, modes, SAMPLES)] + width * std * rng.standard_normal((SAMPLES, 2))

    made: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
        "the data": draw,
        "modes half as wide": lambda rng: draw(rng, 0.5),
        "a tenth as wide": lambda rng: draw(rng, 0.1),
        "one point a mode, evenly": lambda rng: np.resize(centres, (SAMPLES, 2)),
        "1.5 times as wide": lambda rng: draw(rng, 1.5),
        "half of the modes": lambda rng: draw(rng, modes=len(centres) // 2),
        "half of them, half as wide": lambda rng: draw(rng, 0.5, len(centres) // 2),
        "3 times as wide": lambda rng: draw(rng, 3.0),
        "normal noise": lambda rng: real.std(0) * rng.standard_normal((SAMPLES, 2)),
        "a constant": lambda rng: np.tile(real.mean(0), (SAMPLES, 1)),
    }
    rows = []
    for what, sample in made.items():
        found = []
        for seed in range(seeds):
            fake = sample(np.random.default_rng(seed))
            one = mode_coverage(fake, centres, std)
            mass, coverage = recovered_mass(fake, centres, std), density_coverage(real, fake)["coverage"]
            found.append([mass, coverage, one["mode_kl"], one["modes"], one["high_quality"]])
        rows.append([f"{name}: {what}", *_cells(found)])
    return rows


def stacked(name: str, seeds: int) -> list[list[str]]:
    """Rows of modes and mode_kl for real stacked digits of some of the classes, as the classifier sees them."""
    dataset = discover([("dataset", name)]).get("dataset", name).thing
    extractor = discover([("extractor", f"{name}-cnn")]).get("extractor", f"{name}-cnn").thing

    def classes(images: np.ndarray) -> np.ndarray:
        chunks = torch.as_tensor(images).split(1000)
        return np.concatenate([extractor(chunk)[1].argmax(1).numpy() for chunk in chunks])

    held_out, truth = dataset.load("test")
    real = classes(held_out)
    n = len(held_out)
    print(f"The classifier is right on {(real == truth).mean():.3f} of the held-out images of {name}.\n")
    rows = []
    for kept in (1000, 500, 250, 100, 10):
        found = []
        for seed in range(seeds):
            rng = np.random.default_rng(seed)  # drawn with repetition from the held-out images of these classes
            inside = np.flatnonzero(np.isin(truth, rng.permutation(1000)[:kept]))
            one = class_coverage(rng.choice(real[inside], n), real, 1000)
            found.append([one["modes"], one["mode_kl"]])
        rows.append([f"real, {kept} classes (ln {1000 / kept:g} = {np.log(1000 / kept):.2f})", *_cells(found)])
    found = []
    for seed in range(2):
        noise = np.random.default_rng(seed).integers(0, 256, held_out.shape, dtype=np.uint8)
        one = class_coverage(classes(noise), real, 1000)
        found.append([one["modes"], one["mode_kl"]])
    return [*rows, ["uniform noise", *_cells(found)]]


def _cells(found: list[list[float]]) -> list[str]:
    table = np.array(found)
    return [f"{mean:.3g} ± {sd:.1g}" for mean, sd in zip(table.mean(0), table.std(0, ddof=1), strict=True)]


def _print(headings: list[str], rows: list[list[str]]) -> None:
    for line in (headings, ["---"] * len(headings), *rows):
        print("| " + " | ".join(line) + " |")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="draws of each kind, 2 or more (of noise 2)")
    parser.add_argument("--points", nargs="*", default=["ring8", "grid25"], help="sets of points")
    parser.add_argument("--stacked", nargs="*", default=["stacked-digits"], help="stacked sets, stacked-mnist too")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    for name in options.points:
        _print(
            ["samples", "recovered mass", "coverage", "mode KL", "modes", "high quality"], points(name, options.seeds)
        )
    for name in options.stacked:
        _print(["samples", "modes", "mode KL"], stacked(name, options.seeds))


if __name__ == "__main__":
    main()
