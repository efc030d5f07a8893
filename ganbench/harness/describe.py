"""Jobs that tell the planner of datasets, variants and extractors; plugins are imported in these alone."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ganbench.discovery.catalog import Offer
from ganbench.discovery.entry_points import FILE
from ganbench.discovery.loader import DiscoveryError, discover
from ganbench.discovery.source_hash import source_hash
from ganbench.extractors import Unfit
from ganbench.harness import environment
from ganbench.harness.array_cache import real_cache
from ganbench.harness.build import build
from ganbench.harness.defaults import default_curve_samples, default_extractor, default_metrics
from ganbench.harness.device_errors import take_device
from ganbench.harness.floors import floors, reference_scale
from ganbench.harness.precision import multiplies_bfloat16_fast
from ganbench.harness.real_data import MOST_SAMPLES, RealData, load_split
from ganbench.harness.seeds_engine.cohort import why_serial
from ganbench.metrics.bias import bias_warnings
from ganbench.metrics.manifold import DENSITY_K
from ganbench.plugin.hyperparameters import hyperparameters, identifying, label, resolve, space, takes_classes
from ganbench.plugin.interfaces import Dataset
from ganbench.plugin.variant import Unsuitable
from ganbench.results.records import offered_by
from ganbench.utils import canonical_json
from ganbench.utils.errors import UsageError, in_words, location
from ganbench.utils.withheld import Withheld, withheld

FEWEST_SAMPLES = DENSITY_K + 1


def describe_dataset(payload: dict[str, Any]) -> dict[str, Any]:
    """A dataset's identity and defaults, with the extractor and metrics that the request leads to.

    Where something has to be done ``first``, such as a download, and the payload says ``prepare: False``: only that,
    and whether networks can be built for it already.
    """
    if payload.get("prepare", True):
        return _describe_dataset(payload)
    name = payload["dataset"]
    shape_known = False
    try:
        with withheld():
            discover([("dataset", name)]).get("dataset", name)
            shape_known = True
            return _describe_dataset(payload)
    except Withheld as reason:
        return {"name": name, "first": str(reason), "shape_known": shape_known}


def _describe_dataset(payload: dict[str, Any]) -> dict[str, Any]:
    """The description itself; raises Withheld where something has to be done first that is not to be done now."""
    name = payload["dataset"]
    dataset: Dataset = discover([("dataset", name)]).get("dataset", name).thing
    metrics = tuple(payload["metrics"] or default_metrics(dataset))
    if dataset.primary not in metrics:  # ranks go by it
        metrics = (dataset.primary, *metrics)
    extractor = payload["extractor"] or default_extractor(dataset)
    needed = [("dataset", name), ("extractor", extractor), *(("metric", m) for m in metrics)]
    catalog = discover(needed)
    most = dataset.samples or MOST_SAMPLES
    if payload.get("protocol"):
        _check_protocol(dataset, payload)  # before its network is downloaded
    try:
        chosen = catalog.get("extractor", extractor).thing
        if payload.get("weights"):
            chosen = chosen.with_weights(Path(payload["weights"]))
        devices = environment.devices(payload["device"])  # before data are loaded for one that is not here
        real = RealData(dataset, chosen, payload["samples"] or most, split=payload.get("split", "test"))
    except (DiscoveryError, Unfit) as reason:
        if payload["extractor"]:
            raise
        raise UsageError(f"{reason}. Choose another extractor with --extractor: {_suitable(dataset)}") from None
    there = len(real.images[real.against])
    samples = payload["samples"] or min(there, most)
    curve = payload["curve_samples"] or default_curve_samples(dataset, samples, chosen.size)
    if curve > samples:
        raise UsageError(
            f"--curve-samples {curve:,} of {dataset.name} are more than the {samples:,} of the last evaluation: give "
            "fewer, or more --samples"
        )
    if curve < FEWEST_SAMPLES:
        option = "--samples" if samples < FEWEST_SAMPLES else "--curve-samples"
        raise UsageError(
            f"{option} {curve} of {dataset.name} are too few: every evaluation looks at the {DENSITY_K} nearest "
            f"neighbours of a sample: give at least {FEWEST_SAMPLES}"
        )
    about = {m: about_metric(catalog.get("metric", m)) for m in metrics}
    compared = min(there, samples, real.features or samples)
    return {
        "name": dataset.name,
        "hash": real.hash,
        "primary": dataset.primary,
        "family": dataset.family,
        "budget_images": dataset.budget_images,
        "devices": devices,
        "extractor": chosen.name,
        "extractor_hash": chosen.weights_hash,
        "samples": samples,
        "curve_samples": curve if curve < samples else None,
        "metrics": about,
        "distributions": sorted({catalog.get(*offer).distribution for offer in needed}),
        "notes": [
            *real.notes,
            *_precision_notes(payload),
            *chosen.notes,
            *(
                f"{dataset.name}: {m} compares with held-out samples: with --reference train it has no value"
                for m in metrics
                if real.against == "train" and "held_out" in catalog.get("metric", m).thing.needs
            ),
            *(f"{dataset.name}: {text}" for text in bias_warnings(about.values(), compared, chosen.size)),
        ],
    }


def _check_protocol(dataset: Dataset, payload: dict[str, Any]) -> None:
    """Raise UsageError where a dataset cannot be scored under a published protocol: it is of points, or too small."""
    protocol, samples = payload["protocol"], payload["samples"]
    if len(dataset.shape) != 3:
        raise UsageError(f"--protocol {protocol} scores images, and {dataset.name} has points")
    real = len(load_split(dataset, payload["split"])[0])
    if real < samples:
        raise UsageError(
            f"--protocol {protocol} compares {samples:,} samples with as many real ones, and {dataset.name} has "
            f"{real:,} of them: leave it out and name --samples"
        )


def about_metric(metric: Offer) -> dict[str, Any]:
    """What a record keeps of a metric, who offers it, and of one that is not ganbench's own, its code's hash."""
    about: dict[str, Any] = {**metric.thing.about, "distribution": metric.distribution.removeprefix(FILE)}
    if metric.distribution == "ganbench":
        return about
    return {**about, "source": source_hash(type(metric.thing), metric.distribution)}


def _precision_notes(payload: dict[str, Any]) -> list[str]:
    device = environment.select_device(payload["device"])
    if payload.get("precision", "fp32") == "fp32" or multiplies_bfloat16_fast(device):
        return []
    return [f"--precision bf16: this {device.type} has no units for bfloat16; expect it to be slower than fp32"]


def describe_reference(payload: dict[str, Any]) -> dict[str, Any]:
    """The scale of a dataset's real side, and the floors of metrics."""
    dataset, extractor, metrics = payload["dataset"], payload["extractor"], payload["metrics"]
    catalog = discover([("dataset", dataset), ("extractor", extractor), *(("metric", m) for m in metrics)])
    chosen, device = catalog.get("extractor", extractor), take_device(payload)
    cache = real_cache(chosen.thing, chosen.distribution, device)
    thing, split = catalog.get("dataset", dataset).thing, payload.get("split", "test")
    real = RealData(thing, chosen.thing, payload["samples"], device, cache, split)
    offers = {m: catalog.get("metric", m) for m in metrics}
    found = floors(real, [offer.thing for offer in offers.values()])
    owners = {
        column: next(offer for m, offer in offers.items() if column == m or column.startswith(f"{m}."))
        for column in found.faults
    }
    notes = {
        column: f"{column}{offered_by(about_metric(owners[column]))} {what} for real images: it has no floor"
        for column, what in found.faults.items()
    }
    scale = reference_scale(real)
    real.keep()  # every trial of the sweep reads it
    return {"reference": scale, "floors": found.values, "floor_spreads": found.spreads, "floor_notes": notes}


def describe_variant(payload: dict[str, Any]) -> dict[str, Any]:
    """A variant's identity with its settings, and the datasets that it does not apply to."""
    name = payload["variant"]
    described = environment.describe(environment.select_device(payload["device"]), payload["threads"], "ganbench")
    # The others of the request are imported beside it: two that offer one variant are an error, not a choice.
    beside = (("variant", other) for other in payload["beside"])
    catalog = discover([("variant", name), *beside, *(("dataset", d) for d in payload["datasets"])])
    offer = catalog.get("variant", name)
    cls = offer.thing
    try:
        values = identifying(cls, resolve(cls, payload["settings"]))
    except ValueError as reason:
        raise UsageError(f"--set {name}: {reason}") from None
    values, defaults = _as_recorded(name, values), _as_recorded(name, resolve(cls, {}))
    declared = hyperparameters(cls)
    notes = [
        f"{name}: {key}={value} is outside the range that its author declares ({limits.low} to {limits.high})"
        for key, value in values.items()
        if (limits := declared[key].range) is not None and value is not None and value not in limits
    ]
    unsuitable: dict[str, str] = {}
    serial: dict[str, str] = {}
    broken: list[str] = []
    for dataset in payload["datasets"] if payload["build"] else ():
        thing = catalog.get("dataset", dataset).thing
        try:
            build(cls, thing, values, seed=0)
        except Unsuitable as reason:
            unsuitable[thing.name] = str(reason)
        except (Exception, SystemExit) as reason:  # a fault of the variant: its trials will record it
            broken.append(f"{name} on {thing.name}: building it raised {in_words(reason)}{location(reason)}")
            continue
        if payload.get("together"):
            device = environment.select_device(payload["device"])
            try:
                why = why_serial(cls, thing, values, payload["batch_size"], payload["together"], device)
            except (Exception, SystemExit) as reason:
                why = f"raised {in_words(reason)} when it was tried out"
            serial |= {thing.name: why} if why else {}
    return {
        "name": name,
        "distribution": offer.distribution,
        "source": source_hash(cls, offer.distribution),
        "hyperparameters": values,
        "label": label(name, values, defaults),
        "role": cls.role,
        "conditional": takes_classes(cls),
        "family": cls.family,
        "unsuitable": unsuitable,
        "serial": serial,
        "broken": broken,
        "environment": environment.with_distribution(described, offer.distribution),
        "notes": notes,
    }


def describe_space(payload: dict[str, Any]) -> dict[str, Any]:
    """What a search may choose a variant's hyperparameters from, and their defaults."""
    name = payload["variant"]
    cls = discover([("variant", name)]).get("variant", name).thing
    return {"space": _as_recorded(name, space(cls)), "defaults": _as_recorded(name, identifying(cls, resolve(cls, {})))}


def _as_recorded(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Hyperparameters as the record will hold them: a tuple is a list there."""
    try:
        found: dict[str, Any] = json.loads(canonical_json.dumps(values))
    except (TypeError, ValueError) as reason:
        raise UsageError(f"{name}: a hyperparameter's default is no JSON value ({reason})") from None
    return found


def describe_broken(payload: dict[str, Any]) -> dict[str, Any]:
    """Every installed plugin that cannot be imported, and why."""
    return {"broken": [asdict(bad) for bad in discover().broken]}


def _suitable(dataset: Dataset) -> str:
    """The extractors on offer that take a dataset's images as they are, or that say what they lack."""
    rows = load_split(dataset, "test")[0][:2]
    said = []
    for (kind, name), offer in sorted(discover().offers.items()):
        if kind != "extractor" or offer.thing.learns:
            continue
        if offer.thing.dear:  # trying it would download its weights
            said.append(name)
            continue
        about = (offer.thing.__doc__ or "").strip().partition("\n")[0]
        try:
            offer.thing(rows)
        except UsageError as reason:
            about = str(reason)
        except Exception:  # images of this kind are not for it
            continue
        said.append(f"{name} ({about})")
    return "; ".join(said) or "none is installed"
