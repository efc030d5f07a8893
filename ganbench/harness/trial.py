"""Runs one trial: builds it from its spec, trains and evaluates it, and tells how it ended."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganbench.harness import environment
from ganbench.harness.artifacts import history_csv, shown, write_pictures, write_samples
from ganbench.harness.build import TrialSetup, prepare
from ganbench.harness.checkpoint import capture
from ganbench.harness.device_errors import take_device
from ganbench.harness.failures import failure
from ganbench.harness.metric_values import InvalidOutput
from ganbench.harness.pictures import draw_pictures
from ganbench.harness.serialization import save
from ganbench.harness.training import Training
from ganbench.results.film import surface_places, write_frame
from ganbench.results.progress import FILE as PROGRESS
from ganbench.results.spec import TrialSpec
from ganbench.utils import canonical_json
from ganbench.utils.files import NotPlain, append, make_folder, read_plain, remove, store_errors, write_atomic
from ganbench.utils.seeding import Settings
from ganbench.utils.signals import Interrupted

MOST_PROGRESS = 1 << 28  # bytes of progress.jsonl
CHECKPOINT = "checkpoint.safetensors"
COMPLETED: dict[str, Any] = {"status": "completed", "reason": None, "first_nonfinite": None}
PICTURES = 5  # points of a training at which samples are kept


def run_trial(payload: dict[str, Any]) -> dict[str, Any]:
    """Run a trial, or continue it from its checkpoint, and return its outcome: status, reason, values, history, costs;
    or ``{"interrupted": True}`` where it was asked to stop and has written a checkpoint.

    ``payload``: the spec, the metrics' names, the results ``folder`` of the trial, ``device`` and ``threads``.
    """
    spec = TrialSpec.from_payload(payload["spec"])
    settings = Settings.now()  # before any plugin is imported
    folder = Path(payload["folder"]).absolute()  # a plugin may change the working folder
    make_folder(folder)
    progress = ProgressFile(folder / PROGRESS)
    start, cpu = time.perf_counter(), time.process_time()
    device = take_device(payload)
    described = environment.describe(device, payload["threads"], spec.distribution)
    training: Training | None = None
    outcome: dict[str, Any] = dict(COMPLETED)
    try:
        setup = prepare(spec, payload["metrics"], device, canonical_json.sha256(described), settings)
        training = _started(setup, spec, folder / CHECKPOINT)
        output = TrialOutput(training, folder, progress)
        training.run(folder / CHECKPOINT, output.evaluated, lambda images: progress.write({"images": images}))
        output.conclude()
    except Interrupted:
        return {"interrupted": True}
    except BaseException as reason:
        outcome = failure(reason, training, payload)
    return {
        **outcome,
        **result(training, folder, completed=outcome["status"] == "completed"),
        "environment": described,
        "environment_hash": canonical_json.sha256(described),
        "cost": cost(training, device, time.perf_counter() - start, time.process_time() - cpu, progress.attempts),
    }


def _started(setup: TrialSetup, spec: TrialSpec, checkpoint: Path) -> Training:
    training = setup.new_training(spec)
    try:
        training.resume(checkpoint)
    except Exception:  # it does not fit, and the variant is half restored: start from the beginning
        training = setup.new_training(spec)
    return training


class TrialOutput:
    """Writes what a training leaves in its trial's folder: samples, frames of its film, lines of progress, pictures."""

    def __init__(self, training: Training, folder: Path, progress: ProgressFile) -> None:
        self.training, self.folder, self.progress = training, folder, progress
        last = len(training.points) - 1
        self._kept = {training.points[round(last * i / (PICTURES - 1))] for i in range(PICTURES)}
        self._final: torch.Tensor | None = None

    def evaluated(self, entry: dict[str, Any], samples: torch.Tensor) -> None:
        self._final = samples
        if entry["step"] in self._kept:
            write_samples(self.folder, entry["images_seen"], samples)
        write_frame(self.folder, entry["images_seen"], shown(samples), self._surface())
        self.progress.write({"evaluation": entry})

    def _surface(self) -> np.ndarray | None:
        """How real the discriminator takes each place of the plane for, where the true modes are known."""
        training, centres = self.training, self.training.real.dataset.centres
        if centres is None or np.shape(centres)[1] != 2:
            return None
        return training.evaluator.realness(training.variant, surface_places(np.asarray(centres, dtype=float)))

    def conclude(self) -> None:
        """At the end: raises InvalidOutput if the data were overwritten, else draws the pictures."""
        training = self.training
        if not training.real.intact():
            raise InvalidOutput(
                f"the data of {training.real.dataset.name} were overwritten in training: "
                "a variant may change its batch, not them"
            )
        assert self._final is not None
        with training.evaluator.settings.hold():
            drawn = draw_pictures(training.variant, training.real, self._final, training.evaluator.seed)
        write_pictures(self.folder, *drawn)


def result(training: Training | None, folder: Path, completed: bool) -> dict[str, Any]:
    """What the trial produced, as far as it got; a failed trial has no final values."""
    if training is None:
        return {
            "evaluations": [],
            "values": {},
            "fid_train": None,
            "parameters": {},
            "telemetry": None,
            "state_sha256": None,
        }
    variant = training.variant
    write_atomic(folder / "history.csv", history_csv(training.history))
    final = training.history[-1] if completed else {}
    return {
        "evaluations": training.history,
        "values": final.get("values", {}),
        "fid_train": final.get("fid_train"),
        "telemetry": training.telemetry.summary(),
        "state_sha256": save(folder / "state.safetensors", capture(variant)) if completed else None,
        "adversarial": variant.score_real is not None,
        "decision_threshold": variant.decision_threshold,
        "parameters": {
            role: sum(p.numel() for group in optimizer.param_groups for p in group["params"])
            for role, optimizer in variant.optimizers.items()
        },
    }


def cost(
    training: Training | None, device: torch.device, wall: float, cpu: float, attempts: int, together: int = 1
) -> dict[str, Any]:
    """What a trial took; of several that were trained together each has its share, and the peak memory of all."""
    seconds = training.seconds if training else {"training": 0.0, "evaluation": 0.0}
    seen = training.telemetry.step * training.batch_size if training else 0
    return {
        "wall_seconds": wall / together,
        "cpu_seconds": cpu / together,
        "training_seconds": seconds["training"],
        "evaluation_seconds": seconds["evaluation"],
        "images_per_second": seen / seconds["training"] if seconds["training"] else None,
        "attempts": attempts,
        "together": together,
        **({"peak_device_memory_bytes": torch.cuda.max_memory_allocated(device)} if device.type == "cuda" else {}),
    }


class ProgressFile:
    """Lines that tell the driver how far a running trial is; one ``attempt`` line each time it is started."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with store_errors("read", path):
            try:
                earlier = read_plain(path, MOST_PROGRESS)
            except FileNotFoundError:
                earlier = b""
            except NotPlain:  # nobody's progress has such a size
                remove(path)
                earlier = b""
        self.attempts = earlier.count(b'{"attempt"') + 1
        if earlier and not earlier.endswith(b"\n"):  # a kill cut the last line short
            append(path, b"\n")
        self.write({"attempt": self.attempts})

    def write(self, line: dict[str, Any]) -> None:
        append(self.path, (json.dumps(line) + "\n").encode())
