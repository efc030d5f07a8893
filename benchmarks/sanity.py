"""Which metric sees which failure: metrics of real images, and of the same images spoilt in known ways.

    python benchmarks/sanity.py [--splits 10] [--update docs/metrics.md]

The images of `digits` are shuffled and split into 400 that a generator has seen (training), 600 held-out ones, and the
rest, which stand for a generator's samples: 399 of them as they are (the true samples), and spoilt. Each split gives
every metric a value of each; a failure is seen where the mean differs from that of the true samples by more than
three standard deviations of the true samples' values over the splits. It takes about two minutes on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from threadpoolctl import threadpool_limits

from ganbench.discovery.loader import discover
from ganbench.plugin.interfaces import Evidence, Metric, MetricError, NotApplicable, Side

SEEN, HELD_OUT, N = 400, 600, 399
WORSE, BETTER = "**seen**", "*looks better*"
BEGIN, END = "<!-- benchmarks/sanity.py -->", "<!-- end -->"
Draw = tuple[np.ndarray, np.ndarray]


def drop_modes(fresh: Draw, seen: Draw) -> Draw:
    kept = np.flatnonzero(fresh[1] < 5)[:N]
    return fresh[0][kept], fresh[1][kept]


def blend(weight: float) -> Callable[[Draw, Draw], Draw]:
    def towards_mean(fresh: Draw, seen: Draw) -> Draw:
        mean = fresh[0][:N].mean(axis=0)
        return np.uint8(np.rint(mean + weight * (fresh[0][:N] - mean))), fresh[1][:N]

    return towards_mean


def blur(fresh: Draw, seen: Draw) -> Draw:
    height = fresh[0].shape[2]
    return np.uint8(np.rint(gaussian_filter(np.float64(fresh[0][:N]), (0, 0, height / 10, height / 10)))), fresh[1][:N]


def noise(fresh: Draw, seen: Draw) -> Draw:
    drawn = np.random.default_rng(0).normal(scale=50.0, size=fresh[0][:N].shape)
    return np.uint8(np.clip(np.rint(fresh[0][:N] + drawn), 0, 255)), fresh[1][:N]


FAILURES: dict[str, Callable[[Draw, Draw], Draw]] = {
    "true samples": lambda fresh, seen: (fresh[0][:N], fresh[1][:N]),
    "mode dropping": drop_modes,
    "copying": lambda fresh, seen: (seen[0][:N], seen[1][:N]),
    "blur": blur,
    "noise": noise,
    "collapse onto the mean": blend(0.3),
}


def metrics() -> list[Metric]:
    """Those that samples alone decide; `cas`, which trains a network for each value, is left out."""
    points = [point for point in entry_points(group="ganbench") if point.value.startswith("ganbench.metrics.")]
    found = {one.name: one for point in points for one in point.load().ganbench_metrics()}
    return [m for m in found.values() if not m.needs & {"variant", "history"} and m.name != "cas"]


def measure(splits: int) -> tuple[list[Metric], np.ndarray]:
    """Values ``(splits, failures, metrics)``, NaN where a metric has none."""
    catalog = discover()
    dataset = catalog.offers["dataset", "digits"].thing
    extractor = catalog.offers["extractor", "digits-cnn"].thing
    parts = [dataset.load(split) for split in ("train", "test")]
    images, labels = (np.concatenate([np.asarray(part[i]) for part in parts]) for i in (0, 1))

    def side(draw: Draw) -> Side:
        features, probabilities = extractor(torch.from_numpy(draw[0]))
        return Side(draw[0], features.numpy(), probabilities.numpy(), np.int64(draw[1]))

    every = metrics()
    values = np.full((splits, len(FAILURES), len(every)), np.nan)
    for split in range(splits):
        order = np.random.default_rng(split).permutation(len(images))
        seen, held, fresh = ((images[at], labels[at]) for at in np.split(order, [SEEN, SEEN + HELD_OUT]))
        train, real = side(seen), side(held)
        for row, spoil in enumerate(FAILURES.values()):
            evidence = Evidence(side(spoil(fresh, seen)), real, lambda train=train: train, dataset)
            for column, metric in enumerate(every):
                try:
                    value = metric(evidence)
                except (MetricError, NotApplicable):
                    continue
                values[split, row, column] = value[metric.name] if isinstance(value, dict) else value
    used = ~np.isnan(values).all(axis=(0, 1))
    return [m for m, use in zip(every, used, strict=True) if use], values[:, :, used]


def verdict(metric: Metric, true: np.ndarray, spoilt: np.ndarray) -> str:
    change = spoilt.mean() - true.mean()
    if abs(change) <= 3.0 * true.std(ddof=1):
        return ""
    return BETTER if {"min": change < 0, "max": change > 0, "none": False}[metric.direction] else WORSE


def table(every: list[Metric], values: np.ndarray) -> str:
    lines = ["| what | " + " | ".join(FAILURES) + " |", "|---|" + "---|" * len(FAILURES)]
    for column, metric in enumerate(every):
        true = values[:, 0, column]
        cells = [f"{true.mean():.3g} ± {true.std(ddof=1):.1g}"]
        for row in range(1, len(FAILURES)):
            spoilt = values[:, row, column]
            cell = f"{verdict(metric, true, spoilt)} {spoilt.mean():.3g}".strip()
            cells.append("no value" if np.isnan(spoilt).any() else cell)
        lines.append(f"| {metric.label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=10, help="shuffles of the images (default 10)")
    parser.add_argument("--update", type=Path, help="a page whose table is replaced, such as docs/metrics.md")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):  # 400 rows are too few to share
        text = table(*measure(chosen.splits))
    print(text)
    if chosen.update is not None:
        page = chosen.update.read_text()
        before, after = page.split(BEGIN)[0], page.split(END, 1)[1]
        chosen.update.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


if __name__ == "__main__":
    main()
