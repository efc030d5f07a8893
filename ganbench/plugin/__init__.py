"""What a plugin's author imports: interfaces of variants, datasets, extractors, metrics, reporters; the hooks.

Names load when they are used: hookimpl, Metric or Reporter bring no torch. Ready-made blocks are in ``toolkit``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganbench.plugin.gan import GAN
    from ganbench.plugin.hookspecs import hookimpl
    from ganbench.plugin.hyperparameters import Addition, Range, defaults
    from ganbench.plugin.interfaces import (
        Dataset,
        Evidence,
        Extractor,
        Metric,
        MetricError,
        NotApplicable,
        Reporter,
        Scores,
        Side,
    )
    from ganbench.plugin.report import Report
    from ganbench.plugin.variant import Batch, Clock, Unsuitable, Variant

_HOMES = {
    "GAN": "gan",
    "Batch": "variant",
    "Clock": "variant",
    "Dataset": "interfaces",
    "Evidence": "interfaces",
    "Extractor": "interfaces",
    "Metric": "interfaces",
    "MetricError": "interfaces",
    "NotApplicable": "interfaces",
    "Addition": "hyperparameters",
    "Range": "hyperparameters",
    "Report": "report",
    "Reporter": "interfaces",
    "Scores": "interfaces",
    "Side": "interfaces",
    "Unsuitable": "variant",
    "Variant": "variant",
    "defaults": "hyperparameters",
    "hookimpl": "hookspecs",
}

__all__ = [
    "GAN",
    "Addition",
    "Batch",
    "Clock",
    "Dataset",
    "Evidence",
    "Extractor",
    "Metric",
    "MetricError",
    "NotApplicable",
    "Range",
    "Report",
    "Reporter",
    "Scores",
    "Side",
    "Unsuitable",
    "Variant",
    "defaults",
    "hookimpl",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"ganbench.plugin has no {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(f"ganbench.plugin.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
