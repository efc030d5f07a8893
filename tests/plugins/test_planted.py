"""Planted failures get the verdict that they were planted for, at their step, and are never called stable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ganbench_plugins.planted import BlowUp, Dominated, NaN, Unconstrained
from ganbench_plugins.planted_collapse import Classes, Collapse
from ganbench_plugins.r1 import R1
from ganbench_plugins.vanilla import Vanilla
from msgspec.structs import replace

from ganbench.analysis.stability import UNSTABLE, verdict
from ganbench.discovery.loader import discover
from ganbench.harness.build import build
from ganbench.harness.checkpoint import capture, restore
from ganbench.harness.evaluation import Evaluator
from ganbench.harness.real_data import RealData
from ganbench.harness.serialization import fingerprint, load, save
from ganbench.harness.telemetry import Diverged
from ganbench.harness.training import Training
from ganbench.plugin import Batch, Clock, Variant
from ganbench.results.records import read
from ganbench.results.schema import Evaluation, Record, Reference, Telemetry
from ganbench.utils.seeding import derive, seed_everything
from ganbench.utils.typed_json import convert


@pytest.fixture(scope="module")
def digits() -> RealData:
    catalog = discover([("dataset", "digits"), ("extractor", "digits-cnn")])
    return RealData(catalog.get("dataset", "digits").thing, catalog.get("extractor", "digits-cnn").thing, samples=300)


@pytest.fixture(scope="module")
def ring() -> RealData:
    catalog = discover([("dataset", "ring8"), ("extractor", "identity")])
    return RealData(catalog.get("dataset", "ring8").thing, catalog.get("extractor", "identity").thing, samples=300)


def record(cls: type[Variant], real: RealData, folder: Path, images: int = 12_800, **hyperparameters: Any) -> Record:
    """What the verdict reads of one trial of 20 evaluations; 12,800 images are 200 steps."""
    seed = 0
    variant = build(cls, real.dataset, hyperparameters, seed)
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
    telemetry = {**training.telemetry.summary(), "first_nonfinite": first}
    return replace(
        read(min(Path(__file__).parents[2].glob("results/reference/digits/dcgan/seed-0-*/record.json"))),
        role=variant.role,
        status=status,
        decision_threshold=variant.decision_threshold,
        telemetry=convert(telemetry, Telemetry),
        reference=Reference(modes=real.dataset.classes),
        evaluations=[convert(entry, Evaluation) for entry in training.history],
    )


@pytest.mark.parametrize(("data", "points", "images"), [("digits", 1, 32_000), ("ring", 2, 64_000)])
def test_collapse(data: str, points: int, images: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    trial = record(Collapse, request.getfixturevalue(data), tmp_path, images, width=16, points=points)
    found = verdict(trial)
    assert found.word == "collapsed"
    late = [evaluation for evaluation in trial.evaluations if evaluation.images_seen > 0.55 * images]
    if data == "ring":  # how many modes there were before it depends on the last bits of a processor, and so the kind
        assert found.notes in [("lost modes",), ("missing modes",), ("never covered",)]
        assert len(late) > 5 and all(evaluation.watch.modes <= points for evaluation in late)
    else:  # it collapses after half of its 500 steps
        assert found.notes == ("lost modes",)
        assert found.step == min(evaluation.step for evaluation in trial.evaluations if evaluation.step > 250)


def test_forgotten_classes(digits: RealData, tmp_path: Path) -> None:
    assert verdict(record(Classes, digits, tmp_path, 32_000, width=16)).word == "collapsed"


def test_a_critic_without_a_constraint_is_no_success(digits: RealData, tmp_path: Path) -> None:
    assert verdict(record(Unconstrained, digits, tmp_path, 32_000)).word in UNSTABLE


@pytest.mark.parametrize("data", ["digits", "ring"])
def test_dominated(data: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    found = verdict(record(Dominated, request.getfixturevalue(data), tmp_path))
    assert (found.word, found.notes) == ("dominated", ("generator beaten",))


def test_nan(digits: RealData, tmp_path: Path) -> None:
    found = verdict(record(NaN, digits, tmp_path))
    assert (found.word, found.step, found.note) == ("diverged", 100, "loss generator is not finite")


@pytest.mark.parametrize("data", ["digits", "ring"])
def test_blow_up(data: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    found = verdict(record(BlowUp, request.getfixturevalue(data), tmp_path, images=25_600))
    assert (found.word, found.notes) == ("diverged", ("parameters blew up",))
    assert found.step is not None and 320 <= found.step <= 380  # 1.02^151 is 20: about step 351 of 400


STEADY = {"gamma": 1.0, "beta1": 0.0, "lr": 1e-3, "decay": 0.0}  # of planted collapses, whatever R1 has
SMALL: dict[type[Variant], dict[str, Any]] = {Classes: {"classes": 4, "width": 8}, Collapse: {"width": 8}}


def small(cls: type[Variant]) -> Any:
    return cls(torch.Size((2,)), **SMALL.get(cls, {"width": 16}))


def step(variant: Variant, i: int) -> None:
    rng = torch.Generator().manual_seed(i)
    batch = Batch(torch.randn(8, 2, generator=rng), torch.arange(8) % 4)
    variant.train_step(batch, Clock(i, 8 * i, 80, i / 10, i == 9))


@pytest.mark.parametrize("cls", [Collapse, Classes, BlowUp, NaN])
def test_until_then_it_is_an_ordinary_gan_and_then_it_is_not(cls: type[Variant]) -> None:
    def ordinary() -> Variant:
        if cls in SMALL:
            return R1(torch.Size((2,)), width=8, **STEADY)
        return Vanilla(torch.Size((2,)), width=16, lr=1e-3, beta1=0.5)

    prints = []
    for make in (lambda: small(cls), ordinary):
        seed_everything(0)
        variant = make()
        prints.append([])
        for i in range(6):
            step(variant, i)
            prints[-1].append(fingerprint(dict(variant.named_parameters())))
    assert prints[0][:5] == prints[1][:5] and prints[0][5] != prints[1][5]


def test_classes_are_hidden_from_then_until_then() -> None:
    seen: list[Any] = []

    class Spy(Classes):
        def discriminator_phase(self, real: Batch, fake: Batch) -> Any:
            seen.append(real)
            return super().discriminator_phase(real, fake)

    variant = Spy(torch.Size((2,)), classes=4, width=8, until=0.8)
    for i in range(10):
        step(variant, i)
    assert [sorted(set(batch.labels.tolist())) for batch in seen] == [[0, 1, 2, 3]] * 5 + [[0, 1]] * 3 + [
        [0, 1, 2, 3]
    ] * 2
    assert {len(batch.data) for batch in seen} == {8}


@pytest.mark.parametrize("stop", [3, 5, 8])
@pytest.mark.parametrize("cls", [Collapse, Classes, BlowUp])
def test_a_failure_survives_a_resume(cls: type[Variant], stop: int, tmp_path: Path) -> None:
    def run(start: int, end: int, state: dict[str, Any] | None = None) -> Variant:
        seed_everything(0)
        variant = small(cls)
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


@pytest.mark.parametrize("points", [1, 2])
def test_a_collapsed_generator_shows_that_many_samples(points: int) -> None:
    seed_everything(0)
    variant = Collapse(torch.Size((2,)), width=8, points=points)
    step(variant, 4)
    assert len(variant.sample(50).unique(dim=0)) == 50
    step(variant, 5)
    assert len(variant.sample(50).unique(dim=0)) == points
