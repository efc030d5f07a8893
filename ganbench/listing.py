"""``ganbench list``: everything that is installed, and what is wrong with it."""

from __future__ import annotations

import json
import sys
from typing import Any

from ganbench.discovery import KINDS, Catalog, discover
from ganbench.display import plain
from ganbench.hyperparameters import hyperparameters
from ganbench.kinds import Metric


def show_catalog(as_json: bool, planted: bool = False) -> int:
    """Print the catalog; exit code 1 if something is broken or offered twice."""
    catalog = discover()
    if as_json:
        json.dump(_as_json(catalog), sys.stdout, indent=2)
        print()
    else:
        _print(catalog, planted)
    return 1 if catalog.broken or catalog.duplicates else 0


def _print(catalog: Catalog, planted: bool) -> None:
    hidden = 0
    for kind in KINDS:
        offers = [catalog.offers[kind, name] for name in catalog.names(kind)]
        if kind == "variant" and not planted:
            shown = [offer for offer in offers if offer.thing.role != "planted"]
            offers, hidden = shown, len(offers) - len(shown)
        lines = [[f"{kind}s", "from", "about"]]
        lines += [[o.name, f"{o.distribution} {o.version}", _about(kind, o.thing)] for o in offers]
        print(plain(lines))
    if hidden:
        print(f"{hidden} variants that fail on purpose are not shown: ganbench list --planted")
    for bad in catalog.broken:
        print(f"broken: {bad.entry} ({bad.distribution}): {bad.reason}")
    for message in catalog.duplicates.values():
        print(f"duplicate: {message}")


def _about(kind: str, thing: Any) -> str:
    if kind == "variant":
        role = "" if thing.role == "variant" else f"[{thing.role}] "
        return role + (thing.__doc__ or "").strip().partition("\n")[0]
    if kind == "dataset":
        classes = f", {thing.classes} classes" if thing.classes else ""
        return f"{'x'.join(map(str, thing.shape))}{classes}, ranked by {thing.primary}, {thing.budget_images:,} images"
    if kind == "extractor":
        return f"{thing.size} features"
    direction = {"min": "lower is better", "max": "higher is better", "none": "no direction"}[thing.direction]
    return f"{thing.label}: {direction}"


def _as_json(catalog: Catalog) -> dict[str, Any]:
    listed: dict[str, Any] = {
        f"{kind}s": [
            {
                "name": o.name,
                "entry_point": o.entry,
                "distribution": o.distribution,
                "version": o.version,
                "about": _about(kind, o.thing),
                **({"hyperparameters": _settings(o.thing), "role": o.thing.role} if kind == "variant" else {}),
                **(_declared(o.thing) if kind == "metric" else {}),
            }
            for o in (catalog.offers[kind, name] for name in catalog.names(kind))
        ]
        for kind in KINDS
    }
    listed["broken"] = [vars(bad) for bad in catalog.broken]
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
        "floor": metric.floor,
        "interval": type(metric).interval is not Metric.interval,
        "constants": dict(metric.constants),
    }


def _settings(cls: type) -> list[dict[str, Any]]:
    return [
        {
            "name": h.name,
            "type": getattr(h.type, "__name__", str(h.type)),
            "default": h.default,
            "low": h.range.low if h.range else None,
            "high": h.range.high if h.range else None,
            "help": h.help,
        }
        for h in hyperparameters(cls).values()
    ]
