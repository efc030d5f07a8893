"""The training loop: one batch a call, evaluations at fixed points, checkpoints from which the same bits follow."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganbench.harness.checkpoint import capture, restore
from ganbench.harness.checkpoint_writer import CHECKPOINT_SECONDS, CheckpointWriter
from ganbench.harness.evaluation import Evaluator
from ganbench.harness.precision import autocast, cast_outputs_to_float32
from ganbench.harness.real_data import RealData
from ganbench.harness.serialization import Snapshot, Unreadable, load
from ganbench.harness.telemetry import Telemetry
from ganbench.plugin.variant import Batch, Clock, Variant
from ganbench.utils import signals
from ganbench.utils.seeding import derive, generator, rng_state, set_rng_state


class DataOrder:
    """The order of training rows: seeded permutations, one after the other, so every batch is full.

    It has no state: the rows of any batch follow from the seed and the number of images seen before it. An epoch's
    permutation is moved to the data's device as a whole, so that most steps wait for no copy.
    """

    def __init__(self, rows: int, seed: int, device: torch.device | str = "cpu") -> None:
        self.rows, self.seed, self.device = rows, seed, device
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def batch(self, start: int, size: int) -> Tensor:
        """Row numbers of positions ``start`` to ``start + size - 1``."""
        parts = []
        while size > 0:
            epoch, offset = divmod(start, self.rows)
            if epoch != self._epoch:
                self._epoch = epoch
                order = torch.randperm(self.rows, generator=generator(derive(self.seed, "data-order", epoch)))
                self._order = order.to(self.device)
            part = self._order[offset : offset + size]
            parts.append(part)
            start, size = start + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has done what it was asked to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def evaluation_steps(steps: int, evaluations: int) -> list[int]:
    """After how many steps a trial is evaluated: before the first, ``evaluations - 1`` times between, after the last.

    Those between are moved off even spacing by whole steps, at most a quarter of it each way, so that a game which
    cycles with the period of even spacing is not met in the same phase every time. The moves are drawn from a stream
    that is the same for all trials: seeds are compared at equal times. (None where there are fewer than four steps to
    each evaluation.)
    """
    most = steps // (4 * evaluations)
    moves = torch.randint(-most, most + 1, (evaluations,), generator=generator(derive(0, "evaluation-times"))).tolist()
    between = (round(steps * i / evaluations) + moves[i] for i in range(1, evaluations))
    return sorted({0, *between, steps})


class Training:
    """One trial's training.

    Args:
        variant: freshly built, on the device of ``real``.
        real: the dataset.
        evaluator: called before the first step and at ``evaluations`` points (``evaluation_steps``).
        budget_images: real samples to see; the last batch may overshoot.
        batch_size: of every batch.
        seed: root seed of the trial.
        environment: hash of everything that decides the bits beside code and seed; a checkpoint made
            in another one is not continued.
        precision: one of ``precision.PRECISIONS``.

    Attributes:
        history: the evaluations so far.
        seconds: spent in ``train_step``, in evaluations, and over all attempts.
    """

    def __init__(
        self,
        variant: Variant,
        real: RealData,
        evaluator: Evaluator,
        *,
        budget_images: int,
        batch_size: int,
        evaluations: int,
        seed: int,
        environment: str,
        precision: str = "fp32",
    ) -> None:
        self.variant, self.real, self.evaluator = variant, real, evaluator
        self.budget_images, self.batch_size, self.environment = budget_images, batch_size, environment
        self.precision = precision
        if precision != "fp32":
            cast_outputs_to_float32(variant)
        self.steps = -(-budget_images // batch_size)
        self.points = evaluation_steps(self.steps, evaluations)
        self.order = DataOrder(len(real.images["train"]), seed, real.device)
        self.telemetry = Telemetry(variant)
        self.history: list[dict[str, Any]] = []
        self.seconds = {"training": 0.0, "evaluation": 0.0}

    def resume(self, checkpoint: Path) -> bool:
        """Continue from a checkpoint if one fits; raises StateMismatch if the variant was left half restored."""
        if not checkpoint.exists():
            return False
        try:
            saved = load(checkpoint, self.real.device)
        except Unreadable:
            return False
        if saved["environment"] != self.environment:
            return False
        restore(self.variant, saved["variant"])
        self.telemetry.restore(saved["telemetry"])
        self.history, self.seconds = saved["history"], saved["seconds"]
        set_rng_state(saved["rng"])
        return True

    def run(
        self,
        checkpoint: Path,
        evaluated: Callable[[dict[str, Any], Tensor], None],
        progressed: Callable[[int], None],
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> None:
        """Train to the end of the budget.

        Args:
            checkpoint: where to write one, at most every ``checkpoint_seconds`` (``CheckpointWriter``).
            evaluated: called with each evaluation and its samples, as soon as it is done.
            progressed: called with the images seen, now and then.

        Raises:
            Diverged: as soon as an evaluation point sees it.
            Interrupted: the process was asked to stop; the checkpoint is written.
        """
        points = set(self.points)
        with CheckpointWriter(checkpoint_seconds, self.size()) as writer, self.telemetry:
            while True:
                step = self.telemetry.step
                if signals.stop_requested():
                    writer.wait()
                    self.save(checkpoint)
                    raise signals.Interrupted
                if step in points and (not self.history or self.history[-1]["step"] < step):
                    evaluated(*self.evaluate(last=step == self.steps))
                if step == self.steps:
                    return
                if writer.is_due():
                    writer.write(lambda: [(checkpoint, self.snapshot())])
                progressed(step * self.batch_size)
                with self.timed("training"), autocast(self.real.device, self.precision):
                    self.advance(min(p for p in points if p > step), writer.look_again())

    def advance(self, step: int, deadline: float) -> None:
        """Train until a step or a time (of ``time.monotonic``), whichever comes first, or until asked to stop."""
        variant, telemetry = self.variant, self.telemetry
        size, budget = self.batch_size, self.budget_images
        labels = self.real.labels
        while telemetry.step < step:
            seen = telemetry.step * size
            index = self.order.batch(seen, size)
            batch = Batch(
                self.real.normalised("train", index), None if labels is None else labels.index_select(0, index)
            )
            clock = Clock(telemetry.step, seen, budget, seen / budget, telemetry.step + 1 == self.steps)
            telemetry.observe(variant.train_step(batch, clock))
            if time.monotonic() >= deadline or signals.stop_requested():
                return

    def evaluate(self, last: bool) -> tuple[dict[str, Any], Tensor]:
        """Score the variant as it is now, and return the new entry of the history and the samples; raises Diverged."""
        with self.timed("evaluation"):
            self.telemetry.gather()
            images_seen = self.telemetry.step * self.batch_size
            entry, samples = self.evaluator(self.variant, self.telemetry, images_seen, self.history, last)
            self.history.append(entry)
        return entry, samples

    def snapshot(self) -> Snapshot:
        """What a checkpoint holds, the global generators' states included, copied."""
        return Snapshot(
            {
                "environment": self.environment,
                "variant": capture(self.variant),
                "telemetry": self.telemetry.state(),
                "history": self.history,
                "seconds": self.seconds,
                "rng": rng_state(),
            }
        )

    def save(self, path: Path) -> None:
        """Write a checkpoint, and wait until it is on the disk."""
        self.snapshot().save(path)

    def size(self) -> int:
        """Bytes of a checkpoint, about: those of the weights and of two moments that an optimizer keeps of each."""
        trained = {id(p) for o in self.variant.optimizers.values() for group in o.param_groups for p in group["params"]}
        return sum(p.nbytes * (3 if id(p) in trained else 1) for p in self.variant.parameters())

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Count the seconds of a block as ``training`` or ``evaluation``, what it left the device to do included."""
        start = time.perf_counter()
        try:
            yield
            synchronise(self.real.device)
        finally:
            self.seconds[what] += time.perf_counter() - start
