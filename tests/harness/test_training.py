"""The loop: full batches in seeded order, evaluations that change nothing, divergence with its first step."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ganbench.harness.checkpoint import capture
from ganbench.harness.evaluation import Evaluator, draw_samples, eval_mode
from ganbench.harness.metric_values import InvalidOutput
from ganbench.harness.real_data import RealData
from ganbench.harness.serialization import fingerprint
from ganbench.harness.telemetry import Diverged
from ganbench.harness.training import DataOrder, Training, evaluation_steps
from ganbench.plugin.gan import GAN
from ganbench.plugin.interfaces import Dataset, Extractor
from ganbench.plugin.variant import Batch
from ganbench.utils import signals
from ganbench.utils.pixels import from_uint8, to_uint8
from ganbench.utils.seeding import derive, generator, seed_everything

RNG = np.random.default_rng(0)
POINTS = {"train": RNG.normal(size=(300, 2)).astype("float32"), "test": RNG.normal(size=(200, 2)).astype("float32")}


class Identity(Extractor):
    def __call__(self, batch):
        return batch, None


CLOUD = Dataset("cloud", (2,), None, "fid", 960, lambda split: (POINTS[split], None))
IDENTITY = Identity("identity", 2, "0" * 64)


class Tiny(GAN):
    name = "tiny"

    def build_generator(self):
        return nn.Sequential(nn.Linear(self.latent_dim, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 2))

    def build_discriminator(self):
        return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))


def training(cls: type[GAN] = Tiny, evaluations: int = 5, seed: int = 0, images: int = 960, **kwargs) -> Training:
    seed_everything(derive(seed, "initialisation"))
    variant = cls(torch.Size([2]), latent_dim=4, **kwargs)
    seed_everything(derive(seed, "training"))
    real = RealData(CLOUD, IDENTITY, samples=100)
    return Training(
        variant,
        real,
        Evaluator(real, [], seed, 32),
        budget_images=images,
        batch_size=32,
        evaluations=evaluations,
        seed=seed,
        environment="here",
    )


def run(t: Training, folder: Path, **kwargs) -> Training:
    t.run(folder / "checkpoint.safetensors", lambda entry, samples: None, lambda images: None, **kwargs)
    return t


def test_batches_are_full_and_every_row_is_seen_once_an_epoch() -> None:
    order = DataOrder(10, seed=3)
    rows = torch.cat([order.batch(start, 4) for start in range(0, 40, 4)])
    assert all(sorted(epoch.tolist()) == list(range(10)) for epoch in rows.split(10))
    assert len({tuple(epoch.tolist()) for epoch in rows.split(10)}) == 4
    assert torch.equal(DataOrder(10, seed=3).batch(18, 7), rows[18:25])  # no state: any batch on its own
    assert not torch.equal(DataOrder(10, seed=4).batch(0, 40), rows)
    assert len(DataOrder(10, seed=3).batch(5, 64)) == 64  # a batch may be larger than the data
    second = torch.randperm(10, generator=generator(derive(3, "data-order", 1)))
    assert torch.equal(rows[10:20], second)


@pytest.mark.parametrize(
    ("steps", "evaluations", "expected"),
    [(10, 5, [0, 2, 4, 6, 8, 10]), (3, 20, [0, 1, 2, 3]), (7, 1, [0, 7]), (8, 3, [0, 3, 5, 8])],
)
def test_evaluations_of_few_steps_are_evenly_spaced_and_the_last_step_is_one(steps, evaluations, expected) -> None:
    assert evaluation_steps(steps, evaluations) == expected


@pytest.mark.parametrize(("steps", "evaluations"), [(80, 20), (100, 20), (1000, 20), (3125, 20), (3125, 50), (6250, 5)])
def test_evaluations_are_off_even_spacing_by_a_quarter_of_it_at_most(steps, evaluations) -> None:
    points = evaluation_steps(steps, evaluations)
    assert len(points) == evaluations + 1 and points[0] == 0 and points[-1] == steps
    off = [at - steps * i / evaluations for i, at in enumerate(points)]
    assert max(map(abs, off)) <= steps / evaluations / 4 + 0.5 and min(np.diff(points)) > 0
    assert points == evaluation_steps(steps, evaluations)


@pytest.mark.parametrize("cycles", [20, 40, 10, 7, 63, 100])
def test_a_cycle_is_met_in_different_phases_whatever_its_period(cycles) -> None:
    phases = np.array(evaluation_steps(31_250, 20)[11:]) / 31_250 * cycles
    assert np.std(np.cos(2 * np.pi * phases)) > 0.3 or np.std(np.sin(2 * np.pi * phases)) > 0.3


def test_the_clock_counts_what_came_before(tmp_path: Path) -> None:
    clocks = []

    class Watching(Tiny):
        def train_step(self, batch, clock):
            clocks.append(clock)
            assert isinstance(batch, Batch) and batch.data.shape == (32, 2) and batch.labels is None
            return super().train_step(batch, clock)

    run(training(Watching, images=100), tmp_path)
    assert [c.step for c in clocks] == [0, 1, 2, 3]
    assert [c.images_seen for c in clocks] == [0, 32, 64, 96]
    assert [c.last for c in clocks] == [False, False, False, True]
    assert [c.fraction for c in clocks] == [0.0, 0.32, 0.64, 0.96]


def test_labels_are_those_of_the_rows_of_the_training_split(tmp_path: Path) -> None:
    numbered = np.stack([np.arange(300), np.zeros(300)], 1).astype("float32")
    labels = np.arange(300) * 7
    splits = {"train": (numbered, labels), "test": (-numbered - 1, labels)}
    seen: list[int] = []

    class Watching(Tiny):
        def train_step(self, batch, clock):
            assert torch.equal(batch.data[:, 0] * 7, batch.labels)
            seen.extend(batch.labels.tolist())
            return super().train_step(batch, clock)

    t = training(Watching)
    t.real = RealData(Dataset("numbered", (2,), 2100, "fid", 960, splits.__getitem__), IDENTITY, samples=100)
    t.advance(10, math.inf)
    assert sorted(seen[:300]) == labels.tolist()


def test_only_the_last_evaluation_is_compared_with_the_training_split(tmp_path: Path) -> None:
    t = run(training(evaluations=3), tmp_path, checkpoint_seconds=1e9)
    assert ["fid_train" in entry for entry in t.history] == [False, False, False, True]
    assert list(tmp_path.iterdir()) == []  # nor was it time for a checkpoint


def test_how_often_one_evaluates_changes_no_bit(tmp_path: Path) -> None:
    often, seldom = (run(training(evaluations=n), tmp_path) for n in (30, 3))
    assert fingerprint(capture(often.variant)) == fingerprint(capture(seldom.variant))
    assert often.history[-1]["watch"]["fid"] == seldom.history[-1]["watch"]["fid"]
    assert (len(often.history), len(seldom.history)) == (31, 4)


def test_seeds_differ_and_repeat(tmp_path: Path) -> None:
    prints = [fingerprint(capture(run(training(seed=s), tmp_path).variant)) for s in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]


class Stop(Exception):
    pass


@pytest.mark.parametrize("stop", [0, 1, 7, 12, 29])
def test_a_killed_training_goes_on_to_the_same_bits(stop: int, tmp_path: Path) -> None:
    whole = run(training(), tmp_path)

    class Dying(Tiny):
        def train_step(self, batch, clock):
            if clock.step == stop:
                raise Stop
            return super().train_step(batch, clock)

    with pytest.raises(Stop):
        run(training(Dying), tmp_path, checkpoint_seconds=0)
    second = training()
    assert second.resume(tmp_path / "checkpoint.safetensors")
    assert second.telemetry.step == stop and second.seconds["evaluation"] > 0
    run(second, tmp_path)
    assert second.history == whole.history
    assert fingerprint(capture(second.variant)) == fingerprint(capture(whole.variant))
    assert second.telemetry.summary() == whole.telemetry.summary()


@pytest.mark.parametrize("stop", [0, 7])
def test_asked_to_stop_it_writes_a_checkpoint_and_goes_on_to_the_same_bits(
    stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(training(), tmp_path)
    first = training()
    monkeypatch.setattr(signals, "stop_requested", lambda: first.telemetry.step >= stop)
    with pytest.raises(signals.Interrupted):
        run(first, tmp_path)
    monkeypatch.undo()
    second = training()
    assert second.resume(tmp_path / "checkpoint.safetensors") and second.telemetry.step == stop
    run(second, tmp_path)
    assert second.history == whole.history
    assert fingerprint(capture(second.variant)) == fingerprint(capture(whole.variant))


class Counting(Tiny):
    """Returns a buffer that it goes on writing into."""

    def __init__(self, shape, **hyperparameters):
        super().__init__(shape, **hyperparameters)
        self.register_buffer("count", torch.zeros(()))

    def train_step(self, batch, clock):
        self.count += 1
        return {**super().train_step(batch, clock), "count": self.count}


class Raising(Tiny):
    def train_step(self, batch, clock):
        if clock.step == 29:
            raise Stop
        return super().train_step(batch, clock)


@pytest.mark.parametrize("cls", [Counting, Raising])
def test_what_is_measured_does_not_depend_on_when_checkpoints_are_written(cls: type[GAN], tmp_path: Path) -> None:
    found = []
    for seconds in (0, 1e9):
        t = training(cls)
        with contextlib.suppress(Stop):
            run(t, tmp_path, checkpoint_seconds=seconds)
        found.append((t.history, t.telemetry.summary()))
    assert found[0] == found[1]
    assert found[0][1]["updates"]["generator"] >= 29 and found[0][1]["gradient_norm_tenths"]
    if cls is Counting:
        assert [e["watch"]["losses"]["count"] for e in found[0][0][1:]] == [3.5, 9.5, 15.0, 21.5, 28.0]


def test_large_batches_are_scored_too() -> None:
    t = training(images=9600)
    t.evaluator.batch_size = 3000
    assert len(t.evaluator._rows(10_000, "x")) == 3000


def test_a_checkpoint_of_another_environment_or_a_damaged_one_is_not_continued(tmp_path: Path) -> None:
    first = training()
    run(first, tmp_path, checkpoint_seconds=0)
    path = tmp_path / "checkpoint.safetensors"
    other = training()
    other.environment = "elsewhere"
    assert not other.resume(path)
    path.write_bytes(path.read_bytes()[:-3])
    assert not training().resume(path)


def test_divergence_names_its_first_step_and_forgets_what_came_after(tmp_path: Path) -> None:
    class Exploding(Tiny):
        def generator_loss(self, fake_logits):
            return super().generator_loss(fake_logits) * (float("nan") if len(steps) > 17 else 1.0)

        def train_step(self, batch, clock):
            steps.append(clock.step)
            return super().train_step(batch, clock)

    steps: list[int] = []
    t = training(Exploding)
    with pytest.raises(Diverged) as failure:
        run(t, tmp_path)
    assert (failure.value.step, failure.value.what) == (17, "loss generator")
    assert t.telemetry.step == 18 and [e["step"] for e in t.history] == [0, 6, 12, 17]
    assert t.telemetry.updates() == {"discriminator": 18, "generator": 18}


def test_samples_that_are_not_finite_are_divergence(tmp_path: Path) -> None:
    class Overflowing(Tiny):
        def sample(self, n, rng=None):
            return super().sample(n, rng) / 0

    with pytest.raises(Diverged, match="sample"):
        run(training(Overflowing), tmp_path)


def test_telemetry_measures_what_a_hand_written_loop_sees(tmp_path: Path) -> None:
    norms, losses = [], []

    class Measuring(Tiny):
        def update(self, role, loss):
            super().update(role, loss)
            if role == "generator":
                losses.append(float(loss.detach()))
                norms.append(math.sqrt(sum(float(p.grad.double().square().sum()) for p in self.generator.parameters())))

    t = run(training(Measuring, evaluations=1, critic_steps=2), tmp_path)
    watch = t.history[-1]["watch"]
    assert watch["updates"] == {"discriminator": 30, "generator": 15}
    assert watch["losses"]["generator"] == pytest.approx(np.mean(losses), rel=1e-6)
    assert watch["gradient_norms"]["generator"]["max"] == pytest.approx(max(norms), rel=1e-5)
    assert watch["gradient_norms"]["generator"]["median"] == pytest.approx(np.median(norms), rel=1e-5)
    tenths = t.telemetry.summary()["gradient_norm_tenths"]["generator"]
    assert tenths == pytest.approx([np.median(part) for part in np.array_split(norms, 10)], rel=1e-5)


def test_evaluation_restores_flags_one_by_one() -> None:
    t = training()
    t.variant.discriminator.eval()  # an author keeps a part frozen
    with eval_mode(t.variant, 0):
        assert not any(m.training for m in t.variant.modules())
        torch.set_default_dtype(torch.float64)
        torch.rand(5)
    assert t.variant.generator.training and not t.variant.discriminator.training
    assert torch.get_default_dtype() == torch.float32


def test_sampling_that_changes_the_state_is_refused() -> None:
    t = training()
    with pytest.raises(InvalidOutput, match="changed its own state"), eval_mode(t.variant, 0):
        t.variant.generator[0].weight.add_(1)


@pytest.mark.parametrize("bad", [torch.zeros(3, 5), torch.zeros(3, 2, dtype=torch.int64), [0.0, 0.0]])
def test_samples_of_another_shape_or_type_are_refused(bad) -> None:
    t = training()
    t.variant.sample = lambda n, rng=None: bad
    with pytest.raises(InvalidOutput, match="expected floating point"):
        draw_samples(t.variant, 3, 0, torch.device("cpu"))


def test_images_are_clamped_and_rounded_once() -> None:
    x = torch.tensor([-3.0, -1.0, -0.999, 0.0, 0.5, 1.0, 7.0])
    assert to_uint8(x).tolist() == [0, 0, 0, 128, 191, 255, 255]
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(from_uint8(every)), every)


@pytest.mark.parametrize(
    ("data", "labels"),
    [
        (np.zeros((5, 2)), None),
        (np.zeros((5, 3), "float32"), None),
        (np.zeros((5, 2), "float32"), np.zeros(4, "int64")),
        (np.zeros((5, 2), "float32"), np.zeros(5)),
        (np.zeros((1, 2), "float32"), None),
    ],
)
def test_a_dataset_that_returns_something_else_is_named(data, labels) -> None:
    bad = Dataset("bad", (2,), None, "fid", 10, lambda split: (data, labels))
    with pytest.raises(ValueError, match="dataset bad, split train: expected"):
        RealData(bad, IDENTITY, samples=4)
