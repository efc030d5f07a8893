"""bf16: products in bfloat16; weights, losses, optimizers and evaluations in float32. fp32 stays as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from ganbench.cli import cli
from ganbench.harness.checkpoint import capture
from ganbench.harness.evaluation import Evaluator
from ganbench.harness.precision import PRECISIONS
from ganbench.harness.real_data import RealData
from ganbench.harness.serialization import fingerprint
from ganbench.harness.training import Training
from ganbench.plugin.gan import GAN
from ganbench.plugin.interfaces import Dataset, Extractor
from ganbench.results.schema import Identity
from ganbench.results.spec import Protocol, TrialSpec
from ganbench.runner.planning import Request, plan
from ganbench.utils.seeding import derive, seed_everything

RNG = np.random.default_rng(0)
ROWS = {split: RNG.integers(0, 256, (n, 1, 8, 8)).astype("uint8") for split, n in (("train", 300), ("test", 200))}


class Pixels(Extractor):
    def __call__(self, batch):
        assert batch.dtype is torch.uint8 and not torch.is_autocast_enabled("cpu")
        return batch.flatten(1)[:, :4].float(), None


class Convolving(GAN):
    name = "convolving"

    def build_generator(self):
        return nn.Sequential(
            nn.Linear(self.latent_dim, 128), nn.Unflatten(1, (8, 4, 4)), nn.ConvTranspose2d(8, 1, 4, 2, 1)
        )

    def build_discriminator(self):
        return nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(128, 1))

    def generate(self, z):
        images = super().generate(z)
        assert images.dtype is torch.float32
        return images


def training(precision: str, cls: type[GAN] = Convolving) -> Training:
    seed_everything(derive(0, "initialisation"))
    variant = cls(torch.Size([1, 8, 8]), latent_dim=4, lr=1e-3)
    seed_everything(derive(0, "training"))
    real = RealData(
        Dataset("noise", (1, 8, 8), None, "fid", 640, lambda s: (ROWS[s], None)), Pixels("p", 4, "0" * 64), 100
    )
    about = {"budget_images": 640, "batch_size": 32, "evaluations": 2, "seed": 0, "environment": "here"}
    return Training(variant, real, Evaluator(real, [], 0, 32), **about, precision=precision)


def run(t: Training, folder: Path, **kwargs: float) -> Training:
    t.run(folder / "c", lambda entry, samples: None, lambda images: None, **kwargs)
    return t


def test_weights_and_losses_stay_wide_and_products_do_not(tmp_path: Path) -> None:
    seen: dict[str, set[torch.dtype]] = {"inner": set(), "loss": set()}

    class Looking(Convolving):
        def judge(self, batch):
            logits = super().judge(batch)
            seen["loss"].add(logits.dtype)
            return logits

    t = training("bf16", Looking)
    layer = t.variant.discriminator[0]
    layer.register_forward_hook(lambda m, i, o: seen["inner"].add(o.dtype) if m.training else None)
    before = {name: p.detach().clone() for name, p in t.variant.named_parameters()}
    run(t, tmp_path)
    assert seen == {"inner": {torch.bfloat16}, "loss": {torch.float32}}
    state = capture(t.variant)
    assert {p.dtype for p in state["parameters"].values()} == {torch.float32}
    assert all(not torch.equal(p, before[name]) for name, p in t.variant.named_parameters())  # both networks learn
    wide = run(training("fp32"), tmp_path)
    moved = torch.cat([(p - before[n]).detach().flatten() for n, p in t.variant.named_parameters()])
    expected = torch.cat([(p - before[n]).detach().flatten() for n, p in wide.variant.named_parameters()])
    assert float((moved - expected).norm()) > 0 and torch.cosine_similarity(moved, expected, dim=0) > 0.9


def test_it_continues_from_a_checkpoint_to_the_same_bits(tmp_path: Path) -> None:
    whole = run(training("bf16"), tmp_path)

    class Stop(Exception):
        pass

    class Dying(Convolving):
        def train_step(self, batch, clock):
            if clock.step == 13:
                raise Stop
            return super().train_step(batch, clock)

    with pytest.raises(Stop):
        run(training("bf16", Dying), tmp_path, checkpoint_seconds=0)
    second = training("bf16")
    assert second.resume(tmp_path / "c") and second.telemetry.step == 13
    assert fingerprint(capture(run(second, tmp_path).variant)) == fingerprint(capture(whole.variant))


def test_each_precision_is_a_protocol_of_its_own() -> None:
    def identity(precision: str) -> Identity:
        protocol = Protocol(640, 64, "cpu", "identity", "e" * 64, 100, 2, precision=precision)
        return TrialSpec("v", "d", "a" * 64, {}, "ring8", "d" * 64, 0, protocol).identity

    assert len({identity(precision).protocol for precision in PRECISIONS}) == 2
    assert len({identity(precision).trial_hash for precision in PRECISIONS}) == 2


def test_seeds_together_are_refused_in_another_precision() -> None:
    with pytest.raises(ValueError, match="--engine seeds computes in fp32"):
        plan(Request(plugins=("vanilla",), precision="bf16", engine="seeds"), lambda payloads: [])


def test_a_machine_without_bfloat16_units_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganbench.harness.describe.multiplies_bfloat16_fast", lambda device: False)
    words = "run -p noise -d ring8 --seeds 1 --precision bf16 --executor inline --dry-run --results"
    result = CliRunner().invoke(cli, [*words.split(), str(tmp_path / "r")])
    assert result.exit_code == 0 and "no units for bfloat16" in result.output
