"""Planted failures get the verdict that they were planted for, at their step, and are never called stable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ganbench_plugins.planted import BlowUp, Collapse, Dominated, NaN
from ganbench_plugins.vanilla import Vanilla

from ganbench.discovery import discover
from ganbench.evaluation import Evaluator
from ganbench.plugin import Batch, Clock
from ganbench.real import Real
from ganbench.seeding import derive, seed_everything
from ganbench.stability import verdict
from ganbench.state import capture, restore
from ganbench.telemetry import Diverged
from ganbench.training import Training
from ganbench.tree import fingerprint, load, save
from ganbench.trial import build


@pytest.fixture(scope="module")
def digits() -> Real:
    catalog = discover([("dataset", "digits"), ("extractor", "digits-cnn")])
    return Real(catalog.get("dataset", "digits").thing, catalog.get("extractor", "digits-cnn").thing, samples=300)


@pytest.fixture(scope="module")
def ring() -> Real:
    catalog = discover([("dataset", "ring8"), ("extractor", "identity")])
    return Real(catalog.get("dataset", "ring8").thing, catalog.get("extractor", "identity").thing, samples=300)


def record(cls: type[Vanilla], real: Real, folder: Path, images: int = 12_800, seed: int = 0) -> dict[str, Any]:
    """What the verdict reads of one trial of 20 evaluations; 12,800 images are 200 steps."""
    variant = build(cls, real.dataset, {}, seed)
    seed_everything(derive(seed, "training"))
    training = Training(
        variant,
        real,
        Evaluator(real, [], seed, 64),
        budget_images=images,
        batch_size=64,
        evaluations=20,
        seed=seed,
        environment="here",
    )
    status, first = "completed", None
    try:
        training.run(folder / "c", lambda entry, samples: None, lambda seen: None)
    except Diverged as error:
        status, first = "diverged", {"step": error.step, "what": error.what}
    return {
        "role": variant.role,
        "status": status,
        "adversarial": True,
        "decision_threshold": variant.decision_threshold,
        "telemetry": {**training.telemetry.summary(), "first_nonfinite": first},
        "reference": {"modes": real.dataset.classes},
        "evaluations": training.history,
    }


@pytest.mark.parametrize("data", ["digits", "ring"])
def test_collapse(data: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    found = verdict(record(Collapse, request.getfixturevalue(data), tmp_path, images=32_000))
    assert (found.word, found.notes) == ("collapsed", ("lost modes",))
    if data == "digits":  # so early the ring's modes still come and go
        assert found.step == 275  # the collapse comes after the evaluation at step 250: the next one sees it


@pytest.mark.parametrize("data", ["digits", "ring"])
def test_dominated(data: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    found = verdict(record(Dominated, request.getfixturevalue(data), tmp_path))
    assert (found.word, found.notes) == ("dominated", ("generator beaten",))


def test_nan(digits: Real, tmp_path: Path) -> None:
    found = verdict(record(NaN, digits, tmp_path))
    assert (found.word, found.step, found.note) == ("diverged", 100, "loss generator is not finite")


@pytest.mark.parametrize("data", ["digits", "ring"])
def test_blow_up(data: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    found = verdict(record(BlowUp, request.getfixturevalue(data), tmp_path, images=25_600))
    assert (found.word, found.notes) == ("diverged", ("parameters blew up",))
    assert found.step is not None and 320 <= found.step <= 380  # 1.02^151 is 20: about step 351 of 400


def step(variant: Vanilla, i: int) -> None:
    data = torch.randn(8, 2, generator=torch.Generator().manual_seed(i))
    variant.train_step(Batch(data), Clock(i, 8 * i, 80, i / 10, i == 9))


@pytest.mark.parametrize("cls", [Collapse, BlowUp, NaN])
def test_until_then_it_is_vanilla_and_then_it_is_not(cls: type[Vanilla]) -> None:
    prints = []
    for kind in (cls, Vanilla):
        seed_everything(0)
        variant = kind(torch.Size((2,)), width=16)
        prints.append([])
        for i in range(6):
            step(variant, i)
            prints[-1].append(fingerprint(dict(variant.named_parameters())))
    assert prints[0][:5] == prints[1][:5] and prints[0][5] != prints[1][5]


@pytest.mark.parametrize("stop", [3, 5, 8])
@pytest.mark.parametrize("cls", [Collapse, BlowUp])
def test_a_failure_survives_a_resume(cls: type[Vanilla], stop: int, tmp_path: Path) -> None:
    def run(start: int, end: int, state: dict[str, Any] | None = None) -> Vanilla:
        seed_everything(0)
        variant = cls(torch.Size((2,)), width=16)
        if state is not None:
            restore(variant, state)
        for i in range(start, end):
            seed_everything(i)
            step(variant, i)
        return variant

    whole = run(0, 10)
    save(tmp_path / "c", capture(run(0, stop)))
    resumed = run(stop, 10, load(tmp_path / "c"))
    assert fingerprint(capture(resumed)) == fingerprint(capture(whole))
    rng = [torch.Generator().manual_seed(0) for _ in range(2)]
    with torch.no_grad():
        assert torch.equal(resumed.sample(4, rng[0]), whole.sample(4, rng[1]))


def test_a_collapsed_generator_shows_one_sample() -> None:
    seed_everything(0)
    variant = Collapse(torch.Size((2,)), width=16)
    step(variant, 4)
    assert len(variant.sample(5).unique(dim=0)) == 5
    step(variant, 5)
    assert len(variant.sample(5).unique(dim=0)) == 1
