"""``ganbench list``: everything that is installed, and what is wrong with it."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from types import ModuleType
from typing import Any

import click

from ganbench.cli.options import plugin_options
from ganbench.discovery.catalog import KINDS, Blocked, Broken, Catalog, Offer
from ganbench.discovery.entry_points import REPORTERS, find_installed
from ganbench.discovery.import_probe import find_lethal
from ganbench.discovery.loader import discover
from ganbench.discovery.source_hash import source_hash
from ganbench.plugin.hyperparameters import hyperparameters
from ganbench.plugin.interfaces import Metric
from ganbench.reporters import find_reporter
from ganbench.utils.console import plain, say
from ganbench.utils.errors import UsageError

LISTED = (*KINDS, "reporter", "observer")


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="For machines: everything, with hyperparameters.")
@click.option("--planted", is_flag=True, help="Show the variants that fail on purpose, too.")
@plugin_options
def command(as_json: bool, planted: bool) -> None:
    """List what is installed: variants, datasets, extractors, metrics, reporters; what is broken, and why.

    Each has its distribution and version, the hooks of its module, and a status: ok or duplicate. Variants have their
    hyperparameters and the first digits of the source hash that their records hold. What is broken or blocked, and
    what is offered twice, stands below. Exit code 1 if something is broken or offered twice.
    """
    sys.exit(show_catalog(as_json, planted))


def show_catalog(as_json: bool, planted: bool = False) -> int:
    """Print the catalog; exit code 1 if something is broken or offered twice."""
    catalog = discover()
    _add_reporters(catalog)
    if as_json:
        json.dump(_as_json(catalog), sys.stdout, indent=2)
        print()
    else:
        _print(catalog, planted)
    return 1 if catalog.broken or catalog.duplicates else 0


def _add_reporters(catalog: Catalog) -> None:
    """Reporters have a group of their own and are imported by name; here, all of them."""
    installed = find_installed(REPORTERS)
    catalog.blocked += [Blocked(point.name, point.distribution, point.version) for point in installed.blocked]
    single = [points[0] for points in installed.points.values() if len(points) == 1]
    deadly = {single[i].name: how for i, how in find_lethal(single).items()}
    for name, points in installed.points.items():
        first = points[0]
        if len(points) > 1:  # neither is imported: nobody can say which one is meant
            who = " and ".join(point.distribution for point in points)
            told = f"report format {name} is installed by both {who}; uninstall one of them"
            catalog.duplicates["reporter", name] = told
            about = (first.distribution, first.version, first.value)
            catalog.offers["reporter", name] = Offer("reporter", name, None, name, *about)
            continue
        try:
            if name in deadly:
                raise UsageError(f"importing {first.value} {deadly[name]}; uninstall it or have it mended")
            if (offer := find_reporter(name)) is not None:
                catalog.offers["reporter", name] = offer
        except UsageError as reason:
            catalog.broken.append(Broken(name, first.distribution, first.version, str(reason)))


def _print(catalog: Catalog, planted: bool) -> None:
    """Print one line for everything that is offered; planted failures only if they are asked for."""
    hidden = 0
    for kind in LISTED:
        offers = [catalog.offers[kind, name] for name in catalog.names(kind)]
        if kind == "variant" and not planted:
            shown = [offer for offer in offers if offer.thing.role != "planted"]
            offers, hidden = shown, len(offers) - len(shown)
        lines = [[f"{kind}s", "status", "from", "source", "hooks", "about"]]
        for o in offers:
            source, hooks = _source(o) or "", ", ".join(hook.removeprefix("ganbench_") for hook in o.hooks)
            about = _about(o, ", ".join(f"{h.name}={h.default}" for h in _hyperparameters(o)))
            lines.append(
                [o.name, _status(catalog, o), f"{o.distribution} {o.version}".strip(), source[:8], hooks, about]
            )
        print(plain(lines))
    if hidden:
        print(f"{hidden} variants that fail on purpose are not shown: ganbench list --planted")
    for bad in catalog.broken:
        say(f"broken: {bad.entry} ({bad.distribution}): {bad.reason}")
    for point in catalog.blocked:
        say(f"blocked: {point.entry} ({point.distribution}): not imported, by --no-plugin")
    for message in catalog.duplicates.values():
        say(f"duplicate: {message}")
    for message in catalog.left_over:
        say(f"left over: {message}")


def _status(catalog: Catalog, offer: Offer) -> str:
    both = {(offer.kind, offer.name), ("entry point", offer.entry)}
    return "duplicate" if both & catalog.duplicates.keys() else "ok"


def _source(offer: Offer) -> str | None:
    """The source hash of a variant, as records hold it."""
    return source_hash(offer.thing, offer.distribution) if offer.kind == "variant" else None


def _hyperparameters(offer: Offer) -> list[Any]:
    return list(hyperparameters(offer.thing).values()) if offer.kind == "variant" else []


def _about(offer: Offer, settings: str = "") -> str:
    """What it is, in its author's words, and in brackets the figures that it declares."""
    text, figures = _summary(offer.thing), _figures(offer) or settings
    if offer.kind == "variant" and offer.thing.role != "variant":
        text = f"[{offer.thing.role}] {text}"
    return f"{text} [{figures}]".strip() if figures else text


def _summary(thing: Any) -> str:
    """The first line of a variant's docstring; for anything else, and a variant without one, of its module's."""
    docs = [thing.__doc__ if isinstance(thing, type | ModuleType) else None]
    name = getattr(thing, "__module__", Metric.__module__)
    if name != Metric.__module__:  # which describes the interface
        docs.append(getattr(sys.modules.get(name), "__doc__", None))
    return next((doc.strip().partition("\n")[0] for doc in docs if doc), "")


def _figures(offer: Offer) -> str:
    thing = offer.thing
    if offer.kind == "dataset":
        shape = "x".join(map(str, thing.shape))
        if shape == "any size":
            shape = "images of any size"
        elif len(thing.shape) == 1:
            shape = "points in the plane" if thing.shape == (2,) else f"points of {shape} coordinates"
        classes = f", {thing.classes} classes" if thing.classes else ""
        return f"{shape}{classes}, ranked by {thing.primary}, budget {thing.budget_images:,} images"
    if offer.kind == "extractor":
        return f"{thing.size} features"
    if offer.kind == "metric":
        direction = {"min": "lower is better", "max": "higher is better", "none": "no direction"}[thing.direction]
        return f"{thing.label}: {direction}" + (f"; depends on {thing.biased_by}" if thing.biased_by else "")
    return f"writes {thing.suffix}" if offer.kind == "reporter" and thing is not None else ""


def _as_json(catalog: Catalog) -> dict[str, Any]:
    """What ``list --json`` prints: by kind, each with its settings, figures and state."""
    listed: dict[str, Any] = defaultdict(list)
    for kind in LISTED:
        for o in (catalog.offers[kind, name] for name in catalog.names(kind)):
            about: dict[str, Any] = {
                "name": o.name,
                "status": _status(catalog, o),
                "entry_point": o.entry,
                "distribution": o.distribution,
                "version": o.version,
                "module": o.module,
                "source": _source(o),
                "hooks": list(o.hooks),
                "about": _about(o),
            }
            if kind == "variant":
                about |= {"hyperparameters": _settings(o), "role": o.thing.role}
            listed[f"{kind}s"].append(about | (_declared(o.thing) if isinstance(o.thing, Metric) else {}))
    listed["broken"] = [{**vars(bad), "status": "broken"} for bad in catalog.broken]
    listed["blocked"] = [{**vars(point), "status": "blocked"} for point in catalog.blocked]
    listed["duplicates"] = list(catalog.duplicates.values())
    return listed


def _declared(metric: Metric) -> dict[str, Any]:
    """What a metric says of itself beside its name."""
    return {
        "label": metric.label,
        "direction": metric.direction,
        "cost": metric.cost,
        "needs": sorted(metric.needs),
        "rows": dict(zip(("real", "fake"), metric.rows, strict=True)),
        "requires": metric.requires,
        "rows_per_feature": metric.rows_per_feature,
        "biased_by": metric.biased_by,
        "floor": metric.floor,
        "interval": type(metric).interval is not Metric.interval,
        "constants": dict(metric.constants),
    }


def _settings(offer: Offer) -> list[dict[str, Any]]:
    return [
        {
            "name": h.name,
            "type": getattr(h.type, "__name__", str(h.type)),
            "default": h.default,
            "low": h.range.low if h.range else None,
            "high": h.range.high if h.range else None,
            "help": h.help,
        }
        for h in _hyperparameters(offer)
    ]
