"""Trains several seeds of one GAN in step with each other, as one stacked computation (the engine ``seeds``).

Each seed keeps its own data order, random stream, telemetry, evaluations and checkpoint. Between evaluations only the
stack is up to date.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from ganbench.harness.checkpoint_writer import CHECKPOINT_SECONDS, CheckpointWriter, Snapshots
from ganbench.harness.seeds_engine.stack import Stack
from ganbench.harness.serialization import Snapshot
from ganbench.harness.telemetry import GATHER_STEPS, noted_nondeterminism
from ganbench.harness.training import Training, synchronise
from ganbench.plugin.gan import GAN
from ganbench.plugin.variant import Clock
from ganbench.results.spec import LANES
from ganbench.utils import signals
from ganbench.utils.seeding import device_rng_state, set_device_rng_state


def copy_of_global_generator(device: torch.device) -> Generator:
    """A new generator in the state of a device's global one."""
    rng = torch.Generator(device)
    rng.set_state(device_rng_state(device))
    return rng


class Lockstep:
    """The trainings of several seeds, all at the same step.

    Args:
        trainings: of one variant under one protocol, their seeds in rising order within one ten.
        generators: where each one's random stream stands.

    Attributes:
        alive: numbers of those that have not failed.

    Raises:
        Unstackable: the variant cannot be trained so.
    """

    def __init__(self, trainings: Sequence[Training], generators: Sequence[Generator]) -> None:
        self.trainings, self.generators = list(trainings), list(generators)
        variants = [training.variant for training in trainings]
        lanes = [training.order.seed % LANES for training in trainings]
        self.stack = Stack([variant for variant in variants if isinstance(variant, GAN)], generators, lanes)
        self.alive = list(range(len(trainings)))
        self.step = trainings[0].telemetry.step
        self._pending: dict[str, list[tuple[int, Tensor, Tensor]]] = {}

    def run(
        self,
        checkpoints: Sequence[Path],
        evaluated: Sequence[Callable[[dict[str, Any], Tensor], None]],
        progressed: Callable[[int], None],
        failed: Callable[[int, BaseException], None],
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> None:
        """Train to the end of the budget, as ``Training.run`` does.

        Args:
            failed: called with the number of a training and what its evaluation raised; the others go on without it.
        """
        together: set[str] = set().union(*(training.telemetry.nondeterministic for training in self.trainings))
        for training in self.trainings:
            training.telemetry.nondeterministic = together
        size = sum(training.size() for training in self.trainings)
        with noted_nondeterminism(together), CheckpointWriter(checkpoint_seconds, size) as writer:
            self._run(checkpoints, evaluated, progressed, failed, writer)

    def _run(
        self,
        checkpoints: Sequence[Path],
        evaluated: Sequence[Callable[[dict[str, Any], Tensor], None]],
        progressed: Callable[[int], None],
        failed: Callable[[int, BaseException], None],
        writer: CheckpointWriter,
    ) -> None:
        """Train the seeds that are alive together, step by step; evaluate and save each as a trial of its own does."""
        first = self.trainings[0]

        while self.alive:
            if signals.stop_requested():
                writer.wait()
                for path, snapshot in self.snapshots(checkpoints):
                    snapshot.save(path)
                raise signals.Interrupted
            if self.step in first.points and any(self._is_due(k) for k in self.alive):
                self._update_trainings()
                for k in [k for k in self.alive if self._is_due(k)]:
                    try:
                        evaluated[k](*self.trainings[k].evaluate(last=self.step == first.steps))
                    except BaseException as reason:
                        failed(k, reason)
                        self.alive.remove(k)
            if self.step == first.steps:
                return
            if writer.is_due():
                writer.write(lambda: self.snapshots(checkpoints))
            progressed(self.step * first.batch_size)
            start = time.perf_counter()
            self.advance(min(p for p in first.points if p > self.step), writer.look_again())
            synchronise(first.real.device)
            share = (time.perf_counter() - start) / len(self.trainings)
            for training in self.trainings:
                training.seconds["training"] += share

    def snapshots(self, checkpoints: Sequence[Path]) -> Snapshots:
        """The checkpoint of every training; they are of use only where all are of one step.

        Once a training has failed the last ones before that stay: from there it fails in the same way again.
        """
        found: list[tuple[Path, Snapshot]] = []
        if len(self.alive) < len(self.trainings):
            return found
        self._update_trainings()
        for training, rng, path in zip(self.trainings, self.generators, checkpoints, strict=True):
            set_device_rng_state(rng.get_state(), rng.device)  # the checkpoint holds the global one's
            found.append((path, training.snapshot()))
        return found

    def advance(self, step: int, deadline: float) -> None:
        """Train until a step or a time (of ``time.monotonic``), whichever comes first, or until asked to stop."""
        first = self.trainings[0]
        size, budget = first.batch_size, first.budget_images
        labels = first.real.labels
        while self.step < step:
            seen = self.step * size
            index = torch.cat([training.order.batch(seen, size) for training in self.trainings])
            shape = (len(self.trainings), size)
            real = first.real.normalised("train", index).unflatten(0, shape)
            own = None if labels is None else labels.index_select(0, index).unflatten(0, shape)
            clock = Clock(self.step, seen, budget, seen / budget, self.step + 1 == first.steps)
            for role, (loss, norms) in self.stack.step(real, own, clock).items():
                self._pending.setdefault(role, []).append((self.step, loss, norms))
            self.step += 1
            if self.step % GATHER_STEPS == 0:
                self._hand_over_measurements()
            if time.monotonic() >= deadline or signals.stop_requested():
                return

    def _is_due(self, k: int) -> bool:
        history = self.trainings[k].history
        return not history or history[-1]["step"] < self.step

    def _update_trainings(self) -> None:
        """Bring every training up to date with the stack."""
        self._hand_over_measurements()
        self.stack.scatter()
        for k in self.alive:
            self.trainings[k].telemetry.step = self.step

    def _hand_over_measurements(self) -> None:
        """Hand each training its losses and gradient norms."""
        for role, pending in self._pending.items():
            steps = [step for step, _, _ in pending]
            losses = torch.stack([loss for _, loss, _ in pending], 1).tolist()  # (copies, steps)
            norms = torch.stack([norm for _, _, norm in pending], 1).tolist()  # (copies, steps, parameters)
            for k in self.alive:
                self.trainings[k].telemetry.add(role, steps, losses[k], norms[k])
        self._pending.clear()
