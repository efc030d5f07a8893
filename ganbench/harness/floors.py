"""Floors, the value of each metric for real images in place of samples, and the scale of the real data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ganbench.harness.metric_values import apply
from ganbench.harness.real_data import RealData
from ganbench.metrics import features_of, trace_of_covariance
from ganbench.plugin.interfaces import Evidence, Metric, Side

FLOOR_DRAWS = 10


def reference_scale(real: RealData) -> dict[str, Any]:
    """What scores are read against: ``trace`` of the held-out features' covariance, sizes, true modes and centres.

    ``real`` are the held-out rows that have features, ``features`` how many each has: a few rows of many make FID bias.
    """
    dataset = real.dataset
    modes = len(dataset.centres) if dataset.centres is not None else dataset.classes
    return {
        "trace": trace_of_covariance(features_of(real.held_out)),
        "real": len(real.held_out.features),
        "features": int(real.held_out.features.shape[1]),
        "fake": real.samples,
        "train": min(real.samples, len(real.images["train"])),
        "modes": modes,
        "centres": None if dataset.centres is None else np.asarray(dataset.centres, dtype=float).tolist(),
    }


def floors(real: RealData, metrics: Sequence[Metric]) -> dict[str, float | None]:
    """Each metric's value for real images in place of samples: the mean of ten seeded draws where draws differ."""
    found: dict[str, list[dict[str, float | None]]] = {"train": [], "test": []}
    if any(m.floor == "train" for m in metrics):
        draws = FLOOR_DRAWS if real.samples < len(real.images["train"]) else 1
        for i in range(draws):
            fake = real.side("train", real.draw("train", real.samples, "floor", i))
            found["train"].append(_values(real, fake, [m for m in metrics if m.floor == "train"]))
    if any(m.floor == "test" for m in metrics):
        found["test"].append(_values(real, real.held_out, [m for m in metrics if m.floor == "test"]))
    result: dict[str, float | None] = {}
    for metric in metrics:
        drawn = found.get(metric.floor or "", [])
        for column in (metric.name, *(key for key in (drawn[0] if drawn else {}) if key.startswith(f"{metric.name}."))):
            values = [value for draw in drawn if (value := draw.get(column)) is not None]
            result[column] = float(np.mean(values)) if values else None
    return result


def _values(real: RealData, fake: Side, metrics: Sequence[Metric]) -> dict[str, float | None]:
    evidence = Evidence(fake=fake, real=real.held_out, train=lambda: real.train, dataset=real.dataset)
    return apply([m for m in metrics if not m.needs & {"variant", "history"}], evidence)
