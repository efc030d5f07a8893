"""Stacked seeds train what each would train alone, up to rounding, and no seed knows the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from ganbench.discovery.loader import discover
from ganbench.harness.checkpoint import capture
from ganbench.harness.evaluation import Evaluator
from ganbench.harness.real_data import RealData
from ganbench.harness.seeds_engine.cohort import why_serial
from ganbench.harness.seeds_engine.lockstep import Lockstep, copy_of_global_generator
from ganbench.harness.seeds_engine.stack import Stack
from ganbench.harness.seeds_engine.tracing import Unstackable
from ganbench.harness.serialization import fingerprint
from ganbench.harness.telemetry import Diverged
from ganbench.harness.training import Training
from ganbench.plugin.gan import GAN
from ganbench.plugin.hyperparameters import takes_classes
from ganbench.plugin.interfaces import Dataset, Extractor
from ganbench.plugin.variant import Batch, Clock
from ganbench.utils import signals
from ganbench.utils.seeding import derive, seed_everything

RNG = np.random.default_rng(0)
POINTS = {"train": RNG.normal(size=(300, 2)).astype("float32"), "test": RNG.normal(size=(200, 2)).astype("float32")}
CLOUD = Dataset("cloud", (2,), None, "fid", 960, lambda split: (POINTS[split], None))


class Identity(Extractor):
    def __call__(self, batch):
        return batch, None


class Tiny(GAN):
    """Everything that stacks: buffers that training moves, masks, noise of its own, clipped weights, falling steps."""

    name = "tiny"

    def build_generator(self):
        return nn.Sequential(nn.Linear(self.latent_dim, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))

    def build_discriminator(self):
        return nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))

    def discriminator_phase(self, real, fake):
        return super().discriminator_phase(Batch(real.data + 0.1 * torch.randn_like(real.data)), fake)

    def settle(self, clock):
        for w in self.discriminator.parameters():
            w.clamp_(-0.5, 0.5)
        for group in self.optimizers["generator"].param_groups:
            group["lr"] = self.lr * (1 - clock.fraction)


def trainings(seeds: list[int], cls: type[GAN] = Tiny, **kwargs: Any) -> list[Training]:
    real = RealData(CLOUD, Identity("identity", 2, "0" * 64), samples=100)
    found = []
    for seed in seeds:
        seed_everything(derive(seed, "initialisation"))
        variant = cls(torch.Size([2]), latent_dim=4, lr=1e-3, **kwargs)
        seed_everything(derive(seed, "training"))
        found.append(
            Training(
                *(variant, real, Evaluator(real, [], seed, 32)),
                **{"budget_images": 960, "batch_size": 32, "evaluations": 5, "seed": seed, "environment": "here"},
            )
        )
        found[-1].stream = copy_of_global_generator(torch.device("cpu"))  # type: ignore[attr-defined]
    return found


def run(found: list[Training], folder: Path, failed: Any = None, **kwargs: Any) -> Lockstep:
    lockstep = Lockstep(found, [t.stream for t in found])  # type: ignore[attr-defined]
    paths = [folder / f"{k}.safetensors" for k in range(len(found))]
    ignore = [lambda entry, samples: None] * len(found)

    def raises(k: int, reason: BaseException) -> None:
        raise reason

    lockstep.run(paths, ignore, lambda images: None, failed or raises, **kwargs)
    return lockstep


def prints(found: list[Training]) -> list[str]:
    return [fingerprint(capture(t.variant)) for t in found]


def furthest(one: GAN, other: GAN) -> float:
    """Distance of two variants' weights and buffers, relative to their size."""
    a, b = (
        torch.cat([value.detach().double().flatten() for value in (*v.parameters(), *v.buffers())])
        for v in (one, other)
    )
    return float((a - b).norm() / a.norm())


def test_weights_are_those_of_serial_training_up_to_rounding(tmp_path: Path) -> None:
    alone = trainings([3, 4, 5], critic_steps=2)
    for seed, t in zip([3, 4, 5], alone, strict=True):
        seed_everything(derive(seed, "training"))
        t.run(tmp_path / "c", lambda entry, samples: None, lambda images: None)
    stacked = trainings([3, 4, 5], critic_steps=2)
    run(stacked, tmp_path)
    for a, b in zip(alone, stacked, strict=True):
        assert furthest(a.variant, b.variant) < 5e-7
        assert a.telemetry.updates() == b.telemetry.updates() == {"discriminator": 30, "generator": 15}
        for x, y in zip(a.history, b.history, strict=True):
            assert x["watch"]["fid"] == pytest.approx(y["watch"]["fid"], rel=1e-4)
            assert x["watch"].get("losses", {}) == pytest.approx(y["watch"].get("losses", {}), rel=1e-4)
        assert a.telemetry.gradients["generator"].values == pytest.approx(
            b.telemetry.gradients["generator"].values, rel=1e-3, abs=1e-6
        )
        assert a.variant.optimizers["generator"].param_groups[0]["lr"] == pytest.approx(1e-3 / 30)
        assert b.variant.optimizers["generator"].param_groups[0]["lr"] == pytest.approx(1e-3 / 30)


@pytest.mark.parametrize("name", ["wgan-gp", "cgan", "sngan"])
def test_first_party_variants_train_together(name: str) -> None:
    cls = discover([("variant", name)]).get("variant", name).thing
    given = {"width": 8} | ({"classes": 8} if takes_classes(cls) else {})
    rng = torch.Generator().manual_seed(0)
    data = torch.randn(4, 2, 32, 2, generator=rng)
    labels = torch.randint(8, (4, 2, 32), generator=rng) if takes_classes(cls) else None

    def built() -> list[GAN]:
        made = []
        for seed in (1, 2):
            seed_everything(seed)
            made.append(cls(torch.Size([2]), **given))
        return made

    alone, copies = built(), built()
    stack = Stack(copies, [torch.Generator().manual_seed(seed) for seed in (7, 8)], [1, 2])
    for step, clock in enumerate(Clock(i, 32 * i, 128, i / 4, i == 3) for i in range(4)):
        stack.step(data[step], None if labels is None else labels[step], clock)
    stack.scatter()
    for k, variant in enumerate(alone):
        torch.manual_seed(7 + k)
        for step, clock in enumerate(Clock(i, 32 * i, 128, i / 4, i == 3) for i in range(4)):
            variant.train_step(Batch(data[step, k], None if labels is None else labels[step, k]), clock)
        # SNGAN's Adam without momentum makes whole steps of gradients that are zero but for rounding.
        assert furthest(variant, copies[k]) < (1e-3 if name == "sngan" else 5e-7)


def test_a_seed_has_the_same_bits_whoever_trains_beside_it(tmp_path: Path) -> None:
    found = {}
    for seeds in ([5], [0, 1, 2, 3, 4, 5, 9]):
        together = trainings(seeds)
        run(together, tmp_path)
        found[len(seeds)] = prints(together)[seeds.index(5)]
    assert len(set(found.values())) == 1, found


def test_stopped_and_continued_it_ends_in_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trainings([0, 1])
    run(whole, tmp_path)
    first = trainings([0, 1])
    lockstep = Lockstep(first, [t.stream for t in first])  # type: ignore[attr-defined]
    paths = [tmp_path / f"{k}.safetensors" for k in range(2)]
    monkeypatch.setattr(signals, "requested", lambda: lockstep.step >= 7)
    with pytest.raises(signals.Interrupted):
        lockstep.run(paths, [lambda e, s: None] * 2, lambda images: None, lambda k, reason: None)
    monkeypatch.undo()
    second = trainings([0, 1])
    for t, path in zip(second, paths, strict=True):
        assert t.resume(path) and t.telemetry.step == 7
        t.stream = copy_of_global_generator(torch.device("cpu"))  # type: ignore[attr-defined]
    run(second, tmp_path)
    assert prints(second) == prints(whole)
    assert [t.history for t in second] == [t.history for t in whole]
    assert [t.telemetry.summary() for t in second] == [t.telemetry.summary() for t in whole]


class Squaring(Tiny):
    """Weights below 1 vanish, others explode."""

    def settle(self, clock):
        for w in self.discriminator.parameters():
            w.mul_(w.abs())


def test_a_seed_that_diverges_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    whole = trainings([0, 1], Squaring)
    run(whole, tmp_path)
    second = trainings([0, 1, 8], Squaring)
    with torch.no_grad():
        second[2].variant.discriminator[2].weight.fill_(1.5)
    reasons: dict[int, BaseException] = {}
    lockstep = run(second, tmp_path, failed=reasons.__setitem__, checkpoint_seconds=0)
    assert lockstep.alive == [0, 1] and isinstance(reasons[2], Diverged) and 5 < reasons[2].step < 12
    assert prints(second[:2]) == prints(whole)
    assert second[2].telemetry.updates()["discriminator"] == reasons[2].step + 1
    again = trainings([0, 1, 8], Squaring)  # from checkpoints of before it failed
    for k, t in enumerate(again):
        assert t.resume(tmp_path / f"{k}.safetensors") and t.telemetry.step < 12
        t.stream = copy_of_global_generator(torch.device("cpu"))  # type: ignore[attr-defined]
    run(again, tmp_path, failed=lambda k, reason: reasons.update({10 + k: reason}))
    assert str(reasons[12]) == str(reasons[2]) and prints(again[:2]) == prints(whole)


class Own(Tiny):
    def train_step(self, batch, clock):
        return super().train_step(batch, clock)


class Deciding(Tiny):
    def generator_loss(self, fake_logits):
        return fake_logits.mean() if fake_logits.mean() > 0 else -fake_logits.mean()


class Masked(Tiny):
    def judge(self, batch):
        return super().judge(Batch(functional.dropout(batch.data, 0.5)))


class Counting(Tiny):
    def settle(self, clock):
        self.count = clock.step


class Whitening(Tiny):
    def settle(self, clock):
        for w in self.discriminator.parameters():
            w.div_(w.norm())


class Stepwise(Tiny):
    def build_optimizer(self, network):
        return torch.optim.LBFGS(network.parameters())


@pytest.mark.parametrize(
    ("cls", "why"),
    [
        (Own, "training step of its own"),
        (Deciding, "cannot be traced"),
        (Masked, "bernoulli"),
        (Counting, "changes attributes in settle"),
        (Whitening, "not elementwise"),
        (Stepwise, "LBFGS"),
    ],
)
def test_what_cannot_be_stacked_is_refused_with_its_reason(cls: type[GAN], why: str) -> None:
    assert why in str(why_serial(cls, CLOUD, {"latent_dim": 4}, 32, 5, torch.device("cpu")))


def test_a_job_that_cannot_be_stacked_ends_with_the_reason() -> None:
    found = trainings([0, 1], Masked)
    with pytest.raises(Unstackable, match="bernoulli"):
        Lockstep(found, [t.stream for t in found]).advance(1, np.inf)  # type: ignore[attr-defined]
