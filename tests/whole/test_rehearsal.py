"""The harness and every first-party variant on a pretended GPU: whole trials, to the bits that they have on the CPU.

The default run takes each variant on points and on small images through building, steps, an evaluation, a checkpoint
and a resume. What takes longer: pytest -m slow tests/whole/test_rehearsal.py
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ganbench.conformance.pretended_device import Seen, pretended
from ganbench.discovery.loader import Catalog, discover
from ganbench.harness.build import build
from ganbench.harness.checkpoint import capture
from ganbench.harness.evaluation import Evaluator
from ganbench.harness.real_data import RealData
from ganbench.harness.serialization import fingerprint
from ganbench.harness.training import Training
from ganbench.plugin.hyperparameters import resolve
from ganbench.plugin.variant import Batch, Unsuitable, Variant
from ganbench.toolkit import BackboneGAN
from ganbench.utils.seeding import Settings, derive, pin, seed_everything

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a real GPU is there: pytest -m gpu")

VARIANTS = [
    *("cgan", "dcgan", "dragan", "gmm", "lsgan", "minibatch", "minimax", "pacgan", "progan", "r1", "rbm"),
    *("relativistic", "sngan", "stylegan", "unrolled", "vae", "vanilla", "wgan", "wgan-gp"),
]
DATA = {"ring8": "identity", "digits": "digits-cnn"}
BATCH = 16
FEWER = {"gmm": {"capacity": 100, "components": 3}}  # its fit is scikit-learn's work, on the CPU


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    """Deterministic, as in a trial; put back afterwards."""
    before = Settings.now()
    pin(1)
    yield
    before.set()


@cache
def catalog() -> Catalog:
    named = [("dataset", name) for name in DATA] + [("extractor", name) for name in DATA.values()]
    return discover([*named, ("metric", "fid"), *(("variant", name) for name in VARIANTS)])


def thing(kind: str, name: str) -> Any:
    return catalog().get(kind, name).thing


def training(cls: type[Variant], data: str, device: torch.device, precision: str = "fp32", **values: Any) -> Training:
    real = RealData(thing("dataset", data), thing("extractor", DATA[data]), 64, device)
    variant = build(cls, real.dataset, resolve(cls, values), 0).to(device)
    seed_everything(derive(0, "training"))
    return Training(
        variant,
        real,
        Evaluator(real, [thing("metric", "fid")], 0, BATCH),
        budget_images=6 * BATCH,
        batch_size=BATCH,
        evaluations=2,
        seed=0,
        environment="here",
        precision=precision,
    )


def state_of(of: Training) -> str:
    """The hash of everything that a checkpoint holds of a variant, wherever it is."""
    return fingerprint(on_cpu(capture(of.variant)))


def on_cpu(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: on_cpu(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [on_cpu(part) for part in value]
    return value.detach().cpu() if isinstance(value, torch.Tensor) else value


NEVER = 1e18  # the deadline of a training that is not cut off by time


def rehearse(cls: type[Variant], data: str, folder: Path, seen: Seen, **values: Any) -> tuple[dict[str, Any], str]:
    """The last evaluation, and the hash of the state, of a training on the device that was resumed on the way.

    Raises AssertionError for a wait or a copy inside a step, or an operation without a deterministic kernel.
    """
    device = torch.device("cuda", 1)
    torch.cuda.set_device(device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        first = training(cls, data, device, **values)
        with first.telemetry:
            first.evaluate(last=False)
            first.advance(3, NEVER)
            first.save(folder / "checkpoint")
            seen.clear()
            first.advance(6, NEVER)
            asked = {"waits": seen.waits, "copies to it": seen.to_device, "copies back": seen.to_host}
            asked = {what: Counter(lines) for what, lines in asked.items() if lines}
            entry, _ = first.evaluate(last=True)
        again = training(cls, data, device, **values)
        assert again.resume(folder / "checkpoint")
        with again.telemetry:
            again.advance(6, NEVER)
    state = state_of(first)
    assert state_of(again) == state
    assert not seen.nondeterministic
    if first.variant.optimizers:  # gmm is fitted on the CPU
        assert not asked
    return entry, state


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_on_a_pretended_gpu_has_the_bits_of_the_cpu(name: str, data: str, tmp_path: Path) -> None:
    cls, values = thing("variant", name), FEWER.get(name, {})
    try:
        build(cls, thing("dataset", data), resolve(cls, values), 0)
    except Unsuitable as reason:
        pytest.skip(str(reason))
    with pretended("cuda") as seen:
        there, state = rehearse(cls, data, tmp_path, seen, **values)
    here = training(cls, data, torch.device("cpu"), **values)
    with here.telemetry:
        here.evaluate(last=False)
        here.advance(6, NEVER)
        entry, _ = here.evaluate(last=True)
    assert state_of(here) == state
    # Where an array of the evaluation lies in memory moves the last digit of a Fréchet distance.
    assert entry["values"] == pytest.approx(there["values"], rel=1e-9)
    assert entry["watch"]["losses"] == there["watch"]["losses"]
    assert entry["watch"]["d_scores"] == there["watch"]["d_scores"]


class CpuConstant(BackboneGAN):
    name = "cpu-constant"

    def discriminator_loss(self, real, fake):
        return super().discriminator_loss(real, fake) + (torch.ones(len(real)) * real).mean() * 0


class HiddenTensor(BackboneGAN):
    name = "hidden-tensor"

    def __init__(self, shape, **hyperparameters):
        super().__init__(shape, **hyperparameters)
        self.memory["centre"] = torch.zeros(shape)

    def discriminator_phase(self, real, fake):
        return super().discriminator_phase(real, fake) + (real.data - self.memory["centre"]).mean() * 0


class CpuLatent(BackboneGAN):
    name = "cpu-latent"

    def latent(self, n, rng=None):
        return torch.randn(n, self.latent_dim, generator=rng)


class CpuGenerator(BackboneGAN):
    name = "cpu-generator"

    def discriminator_phase(self, real, fake):
        rng = torch.Generator().manual_seed(0)
        return (
            super().discriminator_phase(real, fake) + 0 * torch.rand(3, generator=rng, device=real.data.device).mean()
        )


class Numpy(BackboneGAN):
    name = "numpy"

    def settle(self, clock):
        super().settle(clock)
        next(self.generator.parameters()).detach().numpy()


class Waits(BackboneGAN):
    name = "waits"

    def discriminator_phase(self, real, fake):
        loss = super().discriminator_phase(real, fake)
        return loss if torch.isfinite(loss).all() else loss * 0


class Copies(BackboneGAN):
    name = "copies"

    def latent(self, n, rng=None):
        return super().latent(n, rng) * torch.tensor([1.0]).to("cuda")


class Reflection(BackboneGAN):
    name = "reflection"

    def fake(self, z):
        return Batch(nn.functional.pad(self.generator(z), (1, 1, 1, 1), mode="reflect")[..., 1:-1, 1:-1])


PLANTED = {
    CpuConstant: "two devices, cuda:1 and cpu",
    HiddenTensor: "two devices, cuda:1 and cpu",
    CpuLatent: "Expected a 'cpu' device type for generator but found 'cuda'",
    CpuGenerator: "Expected a 'cuda' device type for generator but found 'cpu'",
    Numpy: "can't convert cuda:1 device type tensor to numpy",
    Waits: "test_rehearsal.py, line",
    Copies: "test_rehearsal.py, line",
    Reflection: "reflection_pad2d_backward",
}


@pytest.mark.parametrize("cls", PLANTED, ids=lambda cls: cls.name)
def test_the_rehearsal_is_not_blind(cls: type[Variant], tmp_path: Path) -> None:
    with (
        pretended("cuda") as seen,
        pytest.raises((RuntimeError, TypeError, AssertionError), match=PLANTED[cls]),
    ):
        rehearse(cls, "digits", tmp_path, seen, width=8)
