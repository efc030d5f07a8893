"""Checks of metrics."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import torch

from ganbench.conformance.checking import Suite
from ganbench.conformance.errors import CheckFailed, NotChecked
from ganbench.conformance.process_state import require_unchanged_process
from ganbench.conformance.subjects import Subject
from ganbench.conformance.variant_runner import during
from ganbench.discovery.loader import discover
from ganbench.harness.metric_values import call
from ganbench.harness.real_data import RealData
from ganbench.plugin.interfaces import NEEDS, Evidence, Metric, Scores
from ganbench.plugin.variant import Variant
from ganbench.utils import canonical_json
from ganbench.utils.seeding import generator, preserved_rng, seed_everything

METRICS = Suite("metric")
SAMPLES = 400
FIELDS = ("samples", "features", "probabilities", "labels")


@cache
def _reals() -> dict[str, RealData]:
    wanted = {"digits": "digits-cnn", "ring8": "identity"}
    catalog = discover([*(("dataset", d) for d in wanted), *(("extractor", e) for e in wanted.values())])
    return {
        dataset: RealData(catalog.get("dataset", dataset).thing, catalog.get("extractor", extractor).thing, SAMPLES)
        for dataset, extractor in wanted.items()
    }


@cache
def _variant(shape: tuple[int, ...]) -> Variant:
    """An untrained GAN, for metrics that ask the variant itself."""
    with preserved_rng(0):
        found: Variant = discover([("variant", "vanilla")]).get("variant", "vanilla").thing(torch.Size(shape))
    return found.eval()


def evidence(dataset: str, good: bool) -> Evidence:
    """What a metric is given: training samples of a dataset as fakes if ``good``, else noise."""
    real = _reals()[dataset]
    rng = generator(0)
    if good:
        samples = real.images["train"][real.draw("train", SAMPLES, "conformance")]
    elif dataset == "digits":
        samples = torch.randint(256, (SAMPLES, *real.dataset.shape), generator=rng, dtype=torch.uint8)
    else:
        samples = torch.randn(SAMPLES, 2, generator=rng) * 3
    said = {name: torch.randn(SAMPLES, generator=rng).double().numpy() for name in ("train", "test", "fake")}
    return Evidence(
        fake=real.describe(samples),
        real=real.held_out,
        train=lambda: real.train,
        dataset=real.dataset,
        seed=1,
        scores=Scores(**said, threshold=0.0),
        variant=_variant(tuple(real.dataset.shape)),
        extractor=real.extractor,
    )


def values(metric: Metric, good: bool = True) -> dict[str, dict[str, float]]:
    """Its values by dataset, where it applies."""
    found = {}
    for dataset in ("digits", "ring8"):
        with during(f"on {dataset}, __call__"), torch.no_grad():
            outcome = call(metric, evidence(dataset, good))
        for column, what in outcome.faults.items():
            raise CheckFailed(f"on {dataset}, {column} {what}: raise NotApplicable where there is no value")
        given = {k: v for k, v in outcome.values.items() if v is not None}
        if given:
            found[dataset] = given
    return found


@METRICS.check(
    """Tables, floors, warnings and documentation follow from what a metric says of itself: label, direction, cost, what
    it needs, from which row on it has a score, and its constants."""
)
def declares_itself(subject: Subject) -> str:
    m: Metric = subject.thing
    if not isinstance(m.label, str) or not m.label.strip():
        raise CheckFailed(f"label is {m.label!r}: what people read above its column")
    for field, allowed in (
        ("direction", ("min", "max", "none")),
        ("cost", ("each", "end")),
        ("floor", ("draws", "train", "test", None)),
    ):
        if getattr(m, field) not in allowed:
            raise CheckFailed(f"{field} is {getattr(m, field)!r}: one of {', '.join(map(repr, allowed))}")
    if unknown := sorted(set(m.needs) - NEEDS):
        raise CheckFailed(f"needs names {', '.join(unknown)}: there are {', '.join(sorted(NEEDS))}")
    if len(tuple(m.rows)) != 2 or not all(type(row) is int and row >= 0 for row in m.rows):
        raise CheckFailed(f"rows is {m.rows!r}: the fewest real and fake rows that have a score, such as (2, 2)")
    try:
        json.loads(canonical_json.dumps(dict(m.constants)))
    except (TypeError, ValueError):
        raise CheckFailed(f"constants is {m.constants!r}: names and JSON values") from None
    return f"{m.label}, {m.direction}, {m.cost}"


@METRICS.check(
    """A metric returns a finite float, or a mapping of names to floats, or raises NotApplicable, which leaves the cell
    empty. It was given 400 samples of digits and of ring8, and must apply to one of them."""
)
def returns_numbers(subject: Subject) -> str:
    found = values(subject.thing)
    if not found:
        raise CheckFailed("it raised NotApplicable for images with labels and for points with known modes")
    return ", ".join(f"{name} on {data}: {value:.4g}" for data, of in found.items() for name, value in of.items())


@METRICS.check(
    """The tables of one results folder are always the same bytes: the same evidence has the same value. Draw from
    np.random.RandomState(evidence.seed % 2**32), never from a global generator."""
)
def deterministic_scores(subject: Subject) -> None:
    seed_everything(1)
    first = values(subject.thing)
    seed_everything(2)
    if values(subject.thing) != first:
        raise CheckFailed("a second call with the same evidence returns another value")


@METRICS.check(
    """Metrics read the same arrays one after another: one that writes into them (in-place sorting, normalising,
    clipping) changes the scores of the next."""
)
def evidence_left_alone(subject: Subject) -> None:
    for dataset in ("digits", "ring8"):
        given = evidence(dataset, good=True)
        sides = {"fake": given.fake, "real": given.real, "train": given.train()}
        before = {
            (s, f): np.copy(v) for s, side in sides.items() for f in FIELDS if (v := getattr(side, f)) is not None
        }
        with during("__call__"), torch.no_grad():
            call(subject.thing, given)
        for (side, field), copy in before.items():
            if not np.array_equal(getattr(sides[side], field), copy):
                raise CheckFailed(f"it changes evidence.{side}.{field}: work on a copy")


@METRICS.check(
    """Ranks, arrows and comparisons go by direction: real training samples, taken for fakes, must not score
    worse than noise."""
)
def better_is_better(subject: Subject) -> str:
    m: Metric = subject.thing
    if m.direction == "none":
        raise NotChecked("it has no direction")
    if "variant" in m.needs or "history" in m.needs:
        raise NotChecked(f"it needs {', '.join(sorted({'variant', 'history'} & set(m.needs)))}, not samples alone")
    good, bad = values(m), values(m, good=False)
    said = []
    for dataset in good.keys() & bad.keys():
        a, b = good[dataset].get(m.name), bad[dataset].get(m.name)
        if a is None or b is None:
            continue
        if a > b if m.direction == "min" else a < b:
            raise CheckFailed(
                f"on {dataset} noise scores {b:.4g} and real training samples {a:.4g}: with direction {m.direction!r} "
                "that calls noise better"
            )
        said.append(f"{dataset}: real {a:.4g}, noise {b:.4g}")
    if not said:
        raise NotChecked("it does not apply to noise")
    return "; ".join(sorted(said))


@METRICS.check(
    """Metrics run in the process that trains: settings and global random states stay as they were, or scoring changes
    what is trained."""
)
def no_global_state_changed(subject: Subject) -> None:
    require_unchanged_process(lambda: values(subject.thing))
