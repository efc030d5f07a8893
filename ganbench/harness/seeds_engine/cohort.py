"""Runs several seeds of one variant, trained in one computation (the engine ``seeds``)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.flop_counter import FlopCounterMode

from ganbench.harness import environment
from ganbench.harness.build import TrialSetup, build, prepare
from ganbench.harness.device_errors import take_device
from ganbench.harness.failures import failure
from ganbench.harness.seeds_engine.lockstep import Lockstep, copy_of_global_generator
from ganbench.harness.seeds_engine.stack import Stack
from ganbench.harness.seeds_engine.tracing import Unstackable
from ganbench.harness.training import Training
from ganbench.harness.trial import CHECKPOINT, COMPLETED, ProgressFile, TrialOutput, cost, result
from ganbench.plugin.interfaces import Dataset
from ganbench.plugin.variant import Clock, Variant
from ganbench.results.progress import FILE as PROGRESS
from ganbench.results.spec import LANES, TrialSpec
from ganbench.utils import canonical_json
from ganbench.utils.files import make_folder
from ganbench.utils.seeding import Settings
from ganbench.utils.signals import Interrupted

# Fitted to benchmarks/seeds.py on one core of a CPU: what the calls of a step cost, in operations of products.
CALLS_SERIAL, CALLS_STACKED = 60e6, 100e6
PAYS = 1.2


def run_cohort(payload: dict[str, Any]) -> dict[str, Any]:
    """Run trials that differ in their seed alone, or continue them, and return ``{"outcomes": [...]}`` in their order;
    or ``{"interrupted": True}`` as ``run_trial`` does. What ends one of them leaves the others running.

    ``payload`` as for ``run_trial``, with ``specs`` and ``folders``.
    """
    specs = [TrialSpec.from_payload(spec) for spec in payload["specs"]]
    settings = Settings.now()
    folders = [Path(folder).absolute() for folder in payload["folders"]]
    for folder in folders:
        make_folder(folder)
    progress = [ProgressFile(folder / PROGRESS) for folder in folders]
    start, cpu = time.perf_counter(), time.process_time()
    device = take_device(payload)
    described = environment.describe(device, payload["threads"], specs[0].distribution)
    trainings: list[Training | None] = [None] * len(specs)
    outcomes = [dict(COMPLETED) for _ in specs]

    def failed(k: int, reason: BaseException) -> None:
        outcomes[k] = failure(reason, trainings[k], payload)

    def progressed(images: int) -> None:
        for one in progress:
            one.write({"images": images})

    try:
        setup = prepare(specs[0], payload["metrics"], device, canonical_json.sha256(described), settings)
        checkpoints = [folder / CHECKPOINT for folder in folders]
        started, generators = _started(setup, specs, checkpoints)
        trainings[:] = started
        outputs = [TrialOutput(*parts) for parts in zip(started, folders, progress, strict=True)]
        lockstep = Lockstep(started, generators)
        lockstep.run(checkpoints, [output.evaluated for output in outputs], progressed, failed)
        for k in lockstep.alive:
            try:
                outputs[k].conclude()
            except BaseException as reason:
                failed(k, reason)
    except Interrupted:
        return {"interrupted": True}
    except BaseException as reason:  # of what they share
        shared = failure(reason, None, payload)
        outcomes = [shared if one == COMPLETED else one for one in outcomes]
    spent = (time.perf_counter() - start, time.process_time() - cpu)
    return {
        "outcomes": [
            {
                **outcome,
                **result(training, folder, completed=outcome["status"] == "completed"),
                "environment": described,
                "environment_hash": canonical_json.sha256(described),
                "cost": cost(training, device, *spent, one.attempts, together=len(specs)),
            }
            for outcome, training, folder, one in zip(outcomes, trainings, folders, progress, strict=True)
        ]
    }


def _started(
    setup: TrialSetup, specs: Sequence[TrialSpec], checkpoints: Sequence[Path]
) -> tuple[list[Training], list[Generator]]:
    """The trainings with their random streams: where their checkpoints are, if all have one of the same step."""
    device = setup.real.device
    if all(path.exists() for path in checkpoints):
        try:
            continued = [_continued(setup, spec, path, device) for spec, path in zip(specs, checkpoints, strict=True)]
            if len({training.telemetry.step for training, _ in continued}) == 1:
                return [training for training, _ in continued], [rng for _, rng in continued]
        except Exception:  # one that does not fit
            pass
    fresh = [(setup.new_training(spec), copy_of_global_generator(device)) for spec in specs]
    return [training for training, _ in fresh], [rng for _, rng in fresh]


def _continued(
    setup: TrialSetup, spec: TrialSpec, checkpoint: Path, device: torch.device
) -> tuple[Training, Generator]:
    training = setup.new_training(spec)
    training.resume(checkpoint)
    return training, copy_of_global_generator(device)


def why_serial(
    cls: type[Variant], dataset: Dataset, values: dict[str, Any], batch_size: int, seeds: int, device: torch.device
) -> str | None:
    """The reason, to follow "it", why so many seeds of a variant are trained one by one; None if they are not."""
    copies = [build(cls, dataset, values, seed) for seed in range(2)]
    rng = torch.Generator().manual_seed(0)
    real = torch.rand(len(copies), batch_size, *dataset.shape, generator=rng)
    labels = torch.randint(dataset.classes, real.shape[:2], generator=rng) if dataset.classes else None
    try:
        stack = Stack(copies, [torch.Generator() for _ in copies], range(len(copies)))  # type: ignore[arg-type]
        flops = step_flops(stack, real, labels)
    except Unstackable as reason:
        return str(reason)
    if device.type != "cpu":  # what pays there has not been measured
        return None
    if (expected := expected_speedup(flops, seeds)) < PAYS:
        return f"would gain little from it on a CPU (about {expected:.1f} times as fast for {seeds} seeds)"
    return None


def step_flops(stack: Stack, real: Tensor, labels: Tensor | None = None) -> float:
    """Floating-point operations of the products in one seed's share of a step of both roles, which the stack makes."""
    clock = Clock(stack.template.critic_steps - 1, 0, real.shape[1], 0.0, True)
    stack.step(real, labels, clock)  # the first one traces
    with FlopCounterMode(display=False) as counter:
        stack.step(real, labels, clock)
    return float(counter.get_total_flops()) / LANES


def expected_speedup(flops: float, seeds: int) -> float:
    """How many times as fast seeds train together on one core as one after the other, by the work of a seed's step.

    A step costs what its products cost and, whatever their size, the calls that make them.
    """
    return min(seeds, LANES) * (CALLS_SERIAL + flops) / (CALLS_STACKED + LANES * flops)
