"""Floors, the value of each metric for an ideal sampler (real images as samples), and the scale of the real data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from ganbench.harness.artifacts import in_plane
from ganbench.harness.metric_values import MetricValues, apply
from ganbench.harness.real_data import STREAMS, RealData
from ganbench.metrics import features_of, trace_of_covariance
from ganbench.plugin.interfaces import Evidence, Metric, Side

FLOOR_DRAWS = 10  # of real training images: their mean value is a metric's floor, their deviation its spread
STAND_INS = ("draws", "train", "test")


def reference_scale(real: RealData) -> dict[str, Any]:
    """What scores are read against: ``trace`` of the real features' covariance, sizes, true modes and centres.

    ``real`` are those of them that have features, ``features`` how many each has: a few rows of many make FID bias.
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
        "centres": None if dataset.centres is None else in_plane(np.asarray(dataset.centres, dtype=float)).tolist(),
    }


def stand_ins(
    real: RealData, kind: str, held: Callable[[], Side], draws: int = FLOOR_DRAWS, all_features: bool = False
) -> Iterator[Side]:
    """The real images that stand in for samples when floors are computed.

    They are training images; held-out ones where samples are compared with training images.

    Args:
        kind: as ``Metric.floor``: ``draws``, as many independent draws as there are samples, so that an image may come
            twice and the shares of classes vary as in samples; ``train``, as many different images; ``test``, held-out.
        held: the held-out ones, made where they are asked for.
        draws: where they differ; without repetition all images are drawn once.
        all_features: of all images, also where the extractor is slow.
    """
    if kind == "test":
        yield held()
        return
    if kind == "draws":
        yield from (
            real.resampled(real.independent, real.samples, all_features, "ideal-sampler", i) for i in range(draws)
        )
        return
    for i in range(draws if real.samples < len(real.images[real.independent]) else 1):
        yield real.side(
            real.independent, real.draw(real.independent, real.samples, "floor", i), all_features=all_features
        )


def held_out_side(real: RealData) -> Side:
    """As many held-out samples as there are samples, or all; those that are compared with, unless training ones are."""
    if real.against == "test":
        return real.held_out
    return real.side("test", real.draw("test", real.samples, STREAMS["test"]))


def floors(real: RealData, metrics: Sequence[Metric]) -> MetricValues:
    """Each metric's value for an ideal sampler: the mean of ten seeded draws, and their standard deviation.

    A metric that fails for one of them has none. ``spreads`` has those of which there were several draws.
    """
    found: dict[str, list[MetricValues]] = {}
    for kind in STAND_INS:
        if chosen := [metric for metric in metrics if metric.floor == kind]:
            found[kind] = [_values(real, fake, chosen) for fake in stand_ins(real, kind, partial(held_out_side, real))]
    result = MetricValues()
    for metric in metrics:
        drawn = found.get(metric.floor or "", [])
        others = [key for key in (drawn[0].values if drawn else {}) if key.startswith(f"{metric.name}.")]
        for column in (metric.name, *others):
            values = [value for draw in drawn if (value := draw.values.get(column)) is not None]
            failed = next((draw.faults[column] for draw in drawn if column in draw.faults), None)
            result.values[column] = float(np.mean(values)) if values and failed is None else None
            if len(values) > 1 and failed is None:
                result.spreads[column] = float(np.std(values, ddof=1))
            if failed is not None:
                result.faults[column] = failed
    return result


def _values(real: RealData, fake: Side, metrics: Sequence[Metric]) -> MetricValues:
    evidence = Evidence(
        fake=fake,
        real=real.held_out,
        train=lambda: real.train,
        dataset=real.dataset,
        extractor=real.extractor,
        held_out=real.against == "test",
    )
    return apply([m for m in metrics if not m.needs & {"variant", "history"}], evidence, refuse=True)
