"""The hooks: functions that a plugin module defines and ganbench calls.

A plugin is a module behind an entry point of group ``ganbench``; the entry point is named after one
thing the module offers. Mark each function with ``hookimpl``:

    from ganbench.plugin import GAN, hookimpl

    class MyGAN(GAN):
        name = "my-gan"
        ...

    @hookimpl
    def ganbench_variants():
        return [MyGAN]

The first four hooks are asked once, when the plugin is loaded. The other two observe a run, and are
called only in plugins named with ``--observe``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from ganbench.plugin.interfaces import Dataset, Extractor, Metric
    from ganbench.plugin.variant import Variant

hookspec = pluggy.HookspecMarker("ganbench")
hookimpl = pluggy.HookimplMarker("ganbench")


@hookspec
def ganbench_variants() -> Iterable[type[Variant]]:
    """Return the generative models on offer: classes, not instances. Each has a ``name``."""
    raise NotImplementedError


@hookspec
def ganbench_datasets() -> Iterable[Dataset]:
    """Return the datasets on offer: instances. Nothing is loaded before ``load`` is called."""
    raise NotImplementedError


@hookspec
def ganbench_extractors() -> Iterable[Extractor]:
    """Return the feature extractors on offer: instances. Weights are read at the first call."""
    raise NotImplementedError


@hookspec
def ganbench_metrics() -> Iterable[Metric]:
    """Return the metrics on offer: instances."""
    raise NotImplementedError


@hookspec
def ganbench_evaluated(spec: Mapping[str, Any], evaluation: Mapping[str, Any]) -> None:
    """Observe one evaluation of a running trial.

    ``spec`` is the trial's identity (variant, dataset, seed, budget, ...); ``evaluation`` has ``step``,
    ``images_seen``, ``values`` (metric to score) and ``watch`` (losses, norms, discriminator scores).
    A run that continues an interrupted trial tells the evaluations before the interruption again.
    It is called in a process of the plugin's own, never in the one that trains or drives the sweep.
    """


@hookspec
def ganbench_finished(record: Mapping[str, Any], folder: str) -> None:
    """Observe a finished trial: ``record`` is what its ``record.json`` holds, failures included.

    ``folder`` is the trial's own, with its samples and pictures.
    """
