"""Resumed at any step, every first-party variant ends in the bits of a training that nobody stopped.

Two negative controls show that the comparison sees what a checkpoint must hold: without the random states, or without
the optimizers' states, the same comparison has to fail.
"""

from __future__ import annotations

import shutil
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganbench.harness.training
from ganbench.harness.build import build
from ganbench.harness.checkpoint import capture, restore
from ganbench.harness.evaluation import Evaluator
from ganbench.harness.real_data import RealData
from ganbench.harness.serialization import fingerprint, load
from ganbench.harness.telemetry import Diverged
from ganbench.harness.training import Training
from ganbench.plugin import GAN, Dataset, Extractor, Variant
from ganbench.utils.seeding import derive, rng_state, seed_everything

BATCH, STEPS = 8, 40
RNG = np.random.default_rng(0)
IMAGES = {split: RNG.integers(0, 256, size=(100, 1, 8, 8), dtype=np.uint8) for split in ("train", "test")}
PLANE = {split: RNG.normal(size=(100, 2)).astype(np.float32) for split in ("train", "test")}
LABELS = {split: RNG.integers(0, 10, size=100) for split in ("train", "test")}


class Flat(Extractor):
    def __call__(self, batch):
        return batch.flatten(1).float(), None


SMALL = Dataset("small", (1, 8, 8), 10, "fid", BATCH * STEPS, lambda split: (IMAGES[split], LABELS[split]))
POINTS = Dataset("points", (2,), None, "coverage", BATCH * STEPS, lambda split: (PLANE[split], None))
REALS = [
    RealData(SMALL, Flat("flat", 64, "0" * 64), samples=32),
    RealData(POINTS, Flat("flat", 2, "0" * 64), samples=32),
]


def offered() -> dict[str, type[Variant]]:
    points = [p for p in entry_points(group="ganbench") if p.value.startswith("ganbench_plugins.")]
    return {cls.name: cls for p in points for cls in import_module(p.value).ganbench_variants()}


VARIANTS = offered()
GANS = [name for name, cls in VARIANTS.items() if issubclass(cls, GAN)]


def training(name: str) -> Training:
    real = REALS[name in ("planted-dirac", "realnvp")]  # of points alone
    variant = build(VARIANTS[name], real.dataset, {}, seed=0)
    seed_everything(derive(0, "training"))
    return Training(
        variant,
        real,
        Evaluator(real, [], 0, BATCH),
        budget_images=BATCH * STEPS,
        batch_size=BATCH,
        evaluations=2,
        seed=0,
        environment="here",
    )


def run(t: Training, folder: Path, keep: bool = False) -> dict[str, Any]:
    """Train to the end; everything that has to be equal. ``keep`` the checkpoint of every step as ``<step>``."""
    checkpoint = folder / "checkpoint.safetensors"

    def progressed(images: int) -> None:
        if keep:
            shutil.copyfile(checkpoint, folder / str(images // BATCH))

    ended = "completed"
    try:
        t.run(checkpoint, lambda entry, samples: None, progressed, checkpoint_seconds=0 if keep else 1e9)
    except Diverged as reason:  # the planted ones
        ended = str(reason)
    found = {"ended": ended, "history": t.history, "telemetry": t.telemetry.summary(), "step": t.telemetry.step}
    if ended == "completed":
        found |= {"state": fingerprint(capture(t.variant)), "random": fingerprint(rng_state())}
    return found


def resumed(name: str, step: int, folder: Path) -> dict[str, Any]:
    t = training(name)
    assert t.resume(folder / str(step)) and t.telemetry.step == step
    return run(t, folder)


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_resumed_at_some_steps_it_ends_in_the_same_bits(name: str, tmp_path: Path) -> None:
    whole = run(training(name), tmp_path, keep=True)
    steps = [step for step in (31, 39) if (tmp_path / str(step)).exists()]
    assert len(steps) == 2 or VARIANTS[name].role == "planted"
    for step in steps:
        assert resumed(name, step, tmp_path) == whole, step


@pytest.mark.slow  # pytest -m slow tests/plugins/test_exact_resume.py -s
@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_resumed_at_every_step_it_ends_in_the_same_bits(name: str, tmp_path: Path) -> None:
    whole = run(training(name), tmp_path, keep=True)
    steps = [step for step in range(STEPS) if (tmp_path / str(step)).exists()]
    assert len(steps) == STEPS or VARIANTS[name].role == "planted"
    for step in steps:
        assert resumed(name, step, tmp_path) == whole, step
    print(f"{name}: {len(steps)} of {len(steps)} steps bit-identical")


def without_random_states(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ganbench.harness.training, "set_rng_state", lambda state: None)


def without_optimizers(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(variant: Variant, state: dict[str, Any]) -> None:
        empty = {role: {**saved, "state": {}} for role, saved in state["optimizers"].items()}
        restore(variant, {**state, "optimizers": empty})

    monkeypatch.setattr(ganbench.harness.training, "restore", forgetful)


FEW = ("vanilla", "wgan-gp", "vae")


@pytest.mark.parametrize("leave_out", [without_random_states, without_optimizers], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in FEW else pytest.mark.slow)
        for name, cls in sorted(VARIANTS.items())
        if cls.role == "variant"
    ],
)
def test_a_checkpoint_that_leaves_something_out_is_noticed(
    name: str, leave_out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(training(name), tmp_path, keep=True)
    assert resumed(name, 37, tmp_path) == whole
    first, last = (load(tmp_path / str(step)) for step in (37, 39))
    if leave_out is without_random_states:
        needed = not torch.equal(first["rng"]["torch"], last["rng"]["torch"])
    else:
        needed = any(saved["state"] for saved in first["variant"]["optimizers"].values())
    leave_out(monkeypatch)
    assert (resumed(name, 37, tmp_path) != whole) == needed
    assert needed or name not in GANS
