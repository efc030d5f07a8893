"""Refuses a request that cannot be, before any process is started and torch is imported."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Any

from ganbench.discovery.early_hyperparameters import check_settings
from ganbench.discovery.early_names import check_names
from ganbench.executors import check_executor
from ganbench.results.presets import PRESETS
from ganbench.runner.planning import Request
from ganbench.utils.errors import UsageError

DEVICES = re.compile(r"auto|cpu(:0)?|cuda(:\d+)?|mps(:0)?")


def check_request(request: Request, executor: str) -> list[str]:
    """Check names, device and numbers as far as texts and metadata tell; return what the user should be told.

    Raises UsageError.
    """
    if not DEVICES.fullmatch(request.device):
        raise UsageError(f"--device {request.device}: expected auto, cpu, cuda, cuda:N or mps")
    installed = check_names(
        [
            *(("variant", name) for name in request.plugins),
            *(("dataset", name) for name in request.datasets),
            *(("metric", name) for name in request.metrics or ()),
            *([("extractor", request.extractor)] if request.extractor else []),
        ]
    )
    notes = _check_preset(request) if request.protocol else []
    check_executor(executor)
    for variant, rows in request.settings.items():
        for point in installed.points.get(variant, ()):
            if point.distribution == "ganbench":
                for settings in rows:
                    check_settings(point.module, variant, settings)
    if installed.damaged and find_spec("triton") is not None:  # which torch imports, and which reads them all
        raise UsageError("; ".join(installed.damaged.values()))
    notes += [*installed.left_over, *installed.damaged.values()]
    if request.images is not None:
        steps = -(-request.images // request.batch_size)
        if request.images < request.batch_size:
            notes.append(
                f"--images {request.images} is less than --batch-size {request.batch_size}: "
                f"a trial is one step and sees {request.batch_size} images"
            )
        if request.evaluations > steps:
            notes.append(f"--evaluations {request.evaluations}: {request.images} images are {steps} steps, so as many")
    return notes


def _check_preset(request: Request) -> list[str]:
    """What the preset of a request stands for, as a note; raises UsageError for an option that contradicts it."""
    preset = PRESETS[request.protocol or ""]
    if not request.datasets:
        raise UsageError(f"--protocol {request.protocol} ({preset.about}) suits several: name one with --datasets")
    told = []
    for name, wanted in (preset.fixed | preset.suggested).items():
        given = getattr(request, name)
        if name in preset.fixed and given != wanted:
            raise UsageError(
                f"{_option(name, given)} contradicts --protocol {request.protocol}, which stands for "
                f"{_option(name, wanted)}: leave out one of them"
            )
        told.append(_option(name, given))
    return [f"--protocol {request.protocol} ({preset.about}): {' '.join(told)}"]


def _option(name: str, value: Any) -> str:
    """``--samples 50000``."""
    flag = "reference" if name == "split" else name.replace("_", "-")
    return f"--{flag} {','.join(value) if isinstance(value, tuple) else value}"
