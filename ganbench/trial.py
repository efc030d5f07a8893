"""One trial from spec to outcome: build, train, evaluate, and say how it ended."""

from __future__ import annotations

import contextlib
import json
import time
import traceback
from pathlib import Path
from typing import Any

import torch

from ganbench import canonical, environment
from ganbench.artifacts import history, write_pictures, write_samples
from ganbench.discovery import Catalog, discover
from ganbench.evaluation import Evaluator
from ganbench.files import NotPlain, StoreError, append, make_folder, naming, read_plain, remove, write_atomic
from ganbench.hyperparameters import takes_classes
from ganbench.interruption import Interrupted
from ganbench.kinds import Dataset
from ganbench.memory import GIGABYTE
from ganbench.pictures import draw_pictures
from ganbench.real import Real
from ganbench.reasons import explain, is_out_of_memory
from ganbench.seeding import Settings, derive, seed_everything
from ganbench.sources import source_hash
from ganbench.spec import TrialSpec
from ganbench.state import capture
from ganbench.telemetry import Diverged
from ganbench.training import Training
from ganbench.tree import save
from ganbench.values import InvalidOutput
from ganbench.variant import Unsuitable, Variant

MOST_PROGRESS = 1 << 28  # bytes of progress.jsonl
PICTURES = 5  # points of a training at which samples are kept


def build(cls: type[Variant], dataset: Dataset, hyperparameters: dict[str, Any], seed: int) -> Variant:
    """A variant on the CPU, initialised from its own stream; raises Unsuitable where it does not apply."""
    seed_everything(derive(seed, "initialisation"))
    if not takes_classes(cls):
        return cls(torch.Size(dataset.shape), **hyperparameters)
    if not dataset.classes:
        raise Unsuitable(f"{cls.name} needs class labels, and {dataset.name} has none")
    return cls(torch.Size(dataset.shape), classes=dataset.classes, **hyperparameters)


def run_trial(payload: dict[str, Any]) -> dict[str, Any]:
    """Run a trial, or continue it from its checkpoint, and return its outcome: status, reason, values, history, costs;
    or ``{"interrupted": True}`` where it was asked to stop and has written a checkpoint.

    ``payload``: the spec, the metrics' names, the results ``folder`` of the trial, ``device`` and ``threads``.
    """
    spec = TrialSpec.from_payload(payload["spec"])
    settings = Settings.now()  # before any plugin is imported
    folder = Path(payload["folder"]).absolute()  # a plugin may change the working folder
    make_folder(folder)
    progress = _Progress(folder / "progress.jsonl")
    start, cpu = time.perf_counter(), time.process_time()
    device = torch.device(payload["device"])
    if device.type == "cuda":  # a plugin's bare "cuda", and the random state that is saved, are this GPU's
        torch.cuda.set_device(device)
    described = environment.describe(device, payload["threads"], spec.distribution)
    training: Training | None = None
    outcome: dict[str, Any] = {"status": "completed", "reason": None, "first_nonfinite": None}
    try:
        training = _prepare(spec, payload["metrics"], device, canonical.sha256(described), folder, settings)
        _train(training, folder, progress)
    except StoreError:  # the disk's fault: no record, so that the same command goes on later
        raise
    except Interrupted:
        return {"interrupted": True}
    except Diverged as reason:
        outcome |= _diverged(reason)
    except BaseException as reason:
        if isinstance(reason, KeyboardInterrupt) and not payload["isolated"]:
            raise
        with contextlib.suppress(Exception):  # a plugin may have closed standard error, a trial's log
            traceback.print_exc()
        outcome |= {"status": "error", "reason": explain(reason)}
        if is_out_of_memory(reason):
            limit = payload.get("memory")
            about = "" if limit is None else f"; its limit is --memory {limit / GIGABYTE:g}"
            outcome |= {"status": "oom", "reason": f"{outcome['reason']}{about}"}
        if training is not None and outcome["status"] == "error":
            try:
                training.telemetry.gather()
            except Diverged as first:  # what it raised came of a value that was no longer finite
                outcome |= _diverged(first)
            except Exception:  # a broken CUDA context cannot be read
                traceback.print_exc()
    return {
        **outcome,
        **_result(training, folder, completed=outcome["status"] == "completed"),
        "environment": described,
        "environment_hash": canonical.sha256(described),
        "cost": _cost(training, time.perf_counter() - start, time.process_time() - cpu, progress.attempts),
    }


def _diverged(reason: Diverged) -> dict[str, Any]:
    first = {"step": reason.step, "what": reason.what}
    return {"status": "diverged", "reason": str(reason), "first_nonfinite": first}


def _prepare(
    spec: TrialSpec, metrics: list[str], device: torch.device, environment_hash: str, folder: Path, settings: Settings
) -> Training:
    protocol = spec.protocol
    catalog: Catalog = discover(
        [
            ("variant", spec.variant),
            ("dataset", spec.dataset),
            ("extractor", protocol.extractor),
            *(("metric", name) for name in metrics),
        ]
    )
    cls = catalog.get("variant", spec.variant).thing
    if source_hash(cls, spec.distribution) != spec.source:
        raise RuntimeError(
            f"the code of {spec.variant} changed while the sweep was running; run the same command again"
        )
    real = Real(
        catalog.get("dataset", spec.dataset).thing,
        catalog.get("extractor", protocol.extractor).thing,
        protocol.samples,
        device,
    )
    if real.hash != spec.dataset_hash:
        raise RuntimeError(
            f"dataset {spec.dataset} returned other data than a moment ago; its load() must be deterministic"
        )
    chosen = [catalog.get("metric", name).thing for name in metrics]

    def fresh() -> Training:
        variant = build(cls, real.dataset, spec.hyperparameters, spec.seed).to(device)
        seed_everything(derive(spec.seed, "training"))
        return Training(
            variant,
            real,
            Evaluator(real, chosen, spec.seed, protocol.batch_size, settings),
            budget_images=protocol.budget_images,
            batch_size=protocol.batch_size,
            evaluations=protocol.evaluations,
            seed=spec.seed,
            environment=environment_hash,
        )

    training = fresh()
    try:
        training.resume(folder / "checkpoint.safetensors")
    except Exception:  # it does not fit, and the variant is half restored: start from the beginning
        training = fresh()
    return training


def _train(training: Training, folder: Path, progress: _Progress) -> None:
    last = len(training.points) - 1
    kept = {training.points[round(last * i / (PICTURES - 1))] for i in range(PICTURES)}
    final: list[torch.Tensor] = []

    def evaluated(entry: dict[str, Any], samples: torch.Tensor) -> None:
        final[:] = [samples]
        if entry["step"] in kept:
            write_samples(folder, entry["images_seen"], samples)
        progress.write({"evaluation": entry})

    training.run(folder / "checkpoint.safetensors", evaluated, lambda images: progress.write({"images": images}))
    if not training.real.intact():
        name = training.real.dataset.name
        raise InvalidOutput(
            f"the data of {name} were overwritten in training: a variant may change its batch, not them"
        )
    with training.evaluator.settings.hold():
        drawn = draw_pictures(training.variant, training.real, final[0], training.evaluator.seed)
    write_pictures(folder, *drawn)


def _result(training: Training | None, folder: Path, completed: bool) -> dict[str, Any]:
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
    write_atomic(folder / "history.csv", history(training.history))
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


def _cost(training: Training | None, wall: float, cpu: float, attempts: int) -> dict[str, Any]:
    seconds = training.seconds if training else {"training": 0.0, "evaluation": 0.0}
    seen = training.telemetry.step * training.batch_size if training else 0
    return {
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "training_seconds": seconds["training"],
        "evaluation_seconds": seconds["evaluation"],
        "images_per_second": seen / seconds["training"] if seconds["training"] else None,
        "attempts": attempts,
    }


class _Progress:
    """Lines that tell the driver how far a running trial is; one ``attempt`` line each time it is started."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with naming("read", path):
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
