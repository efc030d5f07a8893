"""The harness and every first-party variant on a pretended GPU: whole trials, to the bits that they have on the CPU.

The default run takes each variant on points and on small images through building, steps, an evaluation, a checkpoint
and a resume. What takes longer: pytest -m slow tests/whole/test_rehearsal.py
"""

from __future__ import annotations

import json
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from ganbench.cli import cli
from ganbench.conformance.pretended_device import Seen, pretended
from ganbench.discovery.loader import Catalog, discover
from ganbench.harness import evaluation
from ganbench.harness.build import build
from ganbench.harness.checkpoint import capture
from ganbench.harness.evaluation import Evaluator
from ganbench.harness.precision import autocast
from ganbench.harness.real_data import RealData
from ganbench.harness.serialization import fingerprint
from ganbench.harness.training import Training
from ganbench.plugin.hyperparameters import resolve
from ganbench.plugin.variant import Batch, Unsuitable, Variant
from ganbench.results.schema import Record
from ganbench.results.store import read_records
from ganbench.toolkit import BackboneGAN
from ganbench.utils.seeding import Settings, derive, pin, seed_everything

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a real GPU is there: pytest -m gpu")


def learning() -> list[str]:
    """The first-party variants that learn, by name."""
    points = [p for p in entry_points(group="ganbench") if p.value.startswith("ganbench_plugins.")]
    found = [cls for p in points for cls in import_module(p.value).ganbench_variants()]
    return sorted(cls.name for cls in found if cls.role == "variant")


VARIANTS = learning()
# These compute on a GPU in another order than on the CPU, and part by rounding. There torch takes bilinear upsampling
# apart, which has no deterministic kernel, and SiLU's backward pass where the device has no kernel for it.
OTHER_BITS = {("flow-matching", "ring8"), ("flow-matching", "digits"), ("r3gan", "digits")}
DATA = {"ring8": "identity", "digits": "digits-cnn"}
BATCH = 16
FEWER = {"gmm": {"capacity": 100, "components": 3}}  # its fit is scikit-learn's work, on the CPU


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Deterministic, as in a trial; put back afterwards. Of a discriminator's scores a few are enough here."""
    monkeypatch.setattr(evaluation, "MOST_SCORED", 4 * BATCH)
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
    if (name, data) in OTHER_BITS:
        for role, loss in entry["watch"]["losses"].items():
            assert loss == pytest.approx(there["watch"]["losses"][role], rel=1e-3)
        assert entry["values"] == pytest.approx(there["values"], rel=1e-2)
        return
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
        rehearse(cls, "digits", tmp_path, seen, width=16)


PLUGIN = """
import torch
from torch.nn import functional
from ganbench.plugin import Batch, hookimpl
from ganbench.toolkit import BackboneGAN

class NewTF32(BackboneGAN):
    name = "new-tf32"
    def train_step(self, batch, clock):
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        torch.backends.cudnn.conv.fp32_precision = "tf32"
        return super().train_step(batch, clock)

class WithoutCudnn(BackboneGAN):
    name = "without-cudnn"
    def train_step(self, batch, clock):
        with torch.backends.cudnn.flags(enabled=False):
            assert torch.backends.cudnn.allow_tf32
            return super().train_step(batch, clock)

class Bicubic(BackboneGAN):
    name = "bicubic"
    def fake(self, z):
        x = functional.interpolate(self.generator(z), scale_factor=2.0, mode="bicubic")
        return Batch(functional.interpolate(x, scale_factor=0.5))

@hookimpl
def ganbench_variants():
    return [NewTF32, WithoutCudnn, Bicubic]
"""
SETTERS = """
import torch
from torch import backends
from ganbench.plugin import hookimpl
from ganbench.toolkit import BackboneGAN

def flags(**more):
    with backends.cudnn.flags(enabled=True, benchmark=True, **more):
        pass

def left_open():
    backends.cudnn.flags(enabled=False, benchmark=True, allow_tf32=True).__enter__()

def by(name, value="tf32"):
    def set_it():
        where = backends
        for part in filter(None, name.split(".")):
            where = getattr(where, part)
        where.fp32_precision = value
    return set_it

def older(where, value=True):
    return lambda: setattr(where, "allow_tf32", value)

WAYS = [
    flags, lambda: flags(allow_tf32=False), lambda: flags(fp32_precision="tf32"), left_open,
    *(by(name) for name in ("", "cudnn", "cudnn.conv", "cudnn.rnn", "cuda.matmul")),
    *(by(name, "ieee") for name in ("", "cuda.matmul", "cudnn.conv")), by("cuda.matmul", "none"),
    by("mkldnn.matmul", "bf16"), older(backends.cudnn), older(backends.cuda.matmul), older(backends.cuda.matmul, False),
    *(lambda p=p: torch.set_float32_matmul_precision(p) for p in ("highest", "high", "medium")),
    lambda: setattr(backends.cudnn, "benchmark", True), lambda: setattr(backends.cudnn, "enabled", False),
]
for at_import in [IMPORTED]:
    WAYS[at_import]()

class Early(BackboneGAN):
    def __init__(self, shape, **hyperparameters):
        super().__init__(shape, **hyperparameters)
        type(self).way()

class InSteps(BackboneGAN):
    def train_step(self, batch, clock):
        type(self).way()
        return super().train_step(batch, clock)

class Plain(BackboneGAN):
    name = "zz-plain"

MADE = [Plain]
for base in (Early, InSteps):
    for i, way in enumerate(WAYS):
        own = {"name": f"{base.__name__.lower()}-{i:02}", "way": staticmethod(way), "__module__": __name__}
        MADE.append(type(f"{base.__name__}{i}", (base,), own))
globals().update({cls.__name__: cls for cls in MADE})

@hookimpl
def ganbench_variants():
    return MADE
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "mistaken.py"
    path.write_text(PLUGIN)
    return path


def ganbench(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, list(words), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def sweep(results: Path, device: str, *words: str, data: str = "ring8") -> list[Record]:
    small = ["--images", "256", "--batch-size", "16", "--evaluations", "2", "--samples", "64", "--metrics", "fid"]
    small += ["--executor", "inline", "--device"]
    ganbench("run", "-d", data, "--results", str(results), *small, device, *words)
    return read_records(results).records


@pytest.mark.parametrize("name", ["new-tf32", "without-cudnn"])
def test_a_plugin_may_choose_tf32_by_either_interface(name: str, plugin: Path, tmp_path: Path) -> None:
    (record,) = sweep(tmp_path / "r", "cpu", "-p", name, "--plugin-path", str(plugin), "--seeds", "1")
    assert record.status == "completed", record.reason
    assert record.environment["matmul_precision"] == "highest"
    assert record.environment["convolution_precision"] == "ieee"


SLOW_PLACES = ["early", "insteps", "import 3", "import 4", "import 8"]


@pytest.mark.parametrize("place", ["import 19", *(pytest.param(p, marks=pytest.mark.slow) for p in SLOW_PLACES)])
def test_no_trial_fails_by_a_setting_of_precision_and_it_ends_with_the_trial(place: str, tmp_path: Path) -> None:
    when, _, way = place.partition(" ")
    plugin = tmp_path / "setters.py"
    plugin.write_text(SETTERS.replace("IMPORTED", way))
    names = [f"{when}-{i:02}" for i in range(22)] if not way else []
    before = Settings.now()
    small = ("--plugin-path", str(plugin), "--seeds", "1", "--images", "32")
    alone = sweep(tmp_path / "alone", "cpu", "-p", "vanilla", *small[2:])
    records = sweep(tmp_path / "all", "cpu", "-p", ",".join([*names, "zz-plain", "vanilla"]), *small)
    assert {r.status for r in records} == {"completed"}, [r.reason for r in records if r.reason]
    precisions = ("matmul_precision", "convolution_precision")
    assert {tuple(r.environment[name] for name in precisions) for r in records} == {("highest", "ieee")}
    (vanilla,) = (r for r in records if r.identity.trial.variant == "vanilla")
    assert vanilla.state_sha256 == alone[0].state_sha256
    assert Settings.now() == before


def test_a_record_names_what_has_no_deterministic_kernel_and_is_as_before_without(plugin: Path, tmp_path: Path) -> None:
    words = ("-p", "bicubic", "--plugin-path", str(plugin), "--set", "bicubic.width=16", "--seeds", "1")
    with pretended("cuda"):
        (there,) = sweep(tmp_path / "there", "cuda", *words, data="digits")
    assert there.status == "completed", there.reason
    assert there.telemetry and there.telemetry.nondeterministic == ["upsample_bicubic2d_backward_cuda"]
    cost = json.loads(next((tmp_path / "there").glob("*/*/*/cost.json")).read_text())
    assert cost["peak_device_memory_bytes"] == 0  # a pretended device holds nothing
    shown = ganbench("show", str(next((tmp_path / "there").glob("*/*/seed-0-*"))))
    assert re.search(r"bits may not repeat, by +upsample_bicubic2d_backward_cuda\n", shown)
    assert re.search(r"peak device memory bytes +0\n", shown)
    page = (tmp_path / "there" / "leaderboard.html").read_text()
    assert "seeds 0 may not repeat: no deterministic kernel for upsample_bicubic2d_backward_cuda" in page
    (here,) = sweep(tmp_path / "here", "cpu", *words, data="digits")
    assert here.telemetry and not here.telemetry.nondeterministic
    text = next((tmp_path / "here").glob("*/*/*/record.json")).read_text()
    assert "nondeterministic" not in text
    assert "peak_device_memory_bytes" not in next((tmp_path / "here").glob("*/*/*/cost.json")).read_text()
    assert there.state_sha256 != here.state_sha256  # of tensors on a device; the numbers are equal
    assert there.values == pytest.approx(here.values, rel=1e-9)


def test_a_training_waits_for_its_device_before_an_evaluation_is_timed() -> None:
    with pretended("cuda") as seen:
        one = training(thing("variant", "vanilla"), "ring8", torch.device("cuda", 0), width=16)
        for what in ("training", "evaluation"):
            seen.clear()
            with one.timed(what):
                pass
            assert [line for line in seen.waits if "synchronize" in line]
    seen.clear()
    with training(thing("variant", "vanilla"), "ring8", torch.device("cpu"), width=16).timed("training"):
        pass
    assert not seen.waits


def test_a_trial_on_an_apple_gpu_has_no_float64_and_leaves_its_stream_alone(tmp_path: Path) -> None:
    with pretended("mps"):
        with pytest.raises(TypeError, match="float64"):
            torch.zeros(3, device="mps").double()
        words = ("-p", "vanilla,gmm", "--set", "vanilla.width=16", "--set", "gmm.capacity=100", "--seeds", "1")
        there = sweep(tmp_path / "there", "mps", *words)
        often = sweep(tmp_path / "often", "mps", *words, "--evaluations", "5")
    here = sweep(tmp_path / "here", "cpu", *words)
    assert {r.status for r in (*there, *here)} == {"completed"}, [r.reason for r in there]
    for one, other, more in zip(there, here, often, strict=True):
        assert one.values == pytest.approx(other.values, rel=1e-9)
        assert one.state_sha256 == more.state_sha256  # how often it was evaluated changes nothing


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in, on a pretended machine with two GPUs."""
    monkeypatch.chdir(tmp_path)
    with pretended("cuda"):
        yield tmp_path


@pytest.mark.slow  # pytest -m slow tests/whole/test_rehearsal.py
def test_a_trial_of_a_record_is_trained_scored_and_sampled_again_on_a_bare_cuda(bare: Path) -> None:
    (record,) = sweep(bare / "r", "cuda:1", "-p", "vanilla", "--set", "vanilla.width=16", "--seeds", "1")
    assert record.status == "completed" and record.identity.trial.device == "cuda"
    said = ganbench("verify", "r", "--rerun", "1", "--executor", "inline")
    assert "states: 1 bit-identical" in said and "reruns: 1 bit-identical" in said
    ganbench("rescore", "r", "--metrics", "fid,coverage", "--executor", "inline")
    folder = next((bare / "r").glob("ring8/*/seed-0-*"))
    ganbench("sample", str(folder), "--n", "5", "--out", "five.npy", "--executor", "inline")
    assert np.load("five.npy").shape == (5, 2)


def test_a_verification_that_could_check_nothing_is_no_success(tmp_path: Path) -> None:
    with pretended("cuda"):
        sweep(tmp_path / "r", "cuda", "-p", "vanilla", "--set", "vanilla.width=16", "--seeds", "1")
    said = ganbench("verify", str(tmp_path / "r"), "--rerun", "1", "--executor", "inline", code=1)
    assert "no stored state could be checked" in said and "it was not trained again" in said
    assert "torch sees no CUDA device here" in said
    ganbench("verify", str(tmp_path / "r"), "--records-only")


@pytest.mark.slow  # pytest -m slow tests/whole/test_rehearsal.py
def test_seeds_in_one_computation_have_the_same_bits_in_any_company(bare: Path) -> None:
    words = ("-p", "vanilla", "--set", "vanilla.width=16", "--engine", "seeds", "--seeds", "3")
    there = sweep(bare / "there", "cuda", *words)
    assert {r.status for r in there} == {"completed"}, [r.reason for r in there]
    some = sweep(bare / "some", "cuda", *words[:-1], "0,2")
    known = {r.identity.trial.seed: r.state_sha256 for r in there}
    assert {r.identity.trial.engine for r in (*there, *some)} == {"seeds"}
    assert all(known[r.identity.trial.seed] == r.state_sha256 for r in some)


@pytest.mark.slow  # pytest -m slow tests/whole/test_rehearsal.py
@pytest.mark.parametrize("name", VARIANTS)
def test_bfloat16_casts_what_it_multiplies_and_nothing_else(name: str) -> None:
    values = FEWER.get(name, {})
    with pretended("cuda") as seen, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = training(thing("variant", name), "digits", torch.device("cuda", 0), "bf16", **values)
        with one.telemetry, autocast(one.real.device, "bf16"):
            one.advance(2, NEVER)
            seen.clear()
            one.advance(4, NEVER)
        assert not one.variant.optimizers or not seen.waits
        kept = [p for p in one.variant.parameters() if p.is_floating_point()]
        assert {p.dtype for p in kept} <= {torch.float32}
        one.evaluate(last=False)
    assert one.telemetry.step == 4


@pytest.mark.slow  # pytest -m slow tests/whole/test_rehearsal.py
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_runs_on_an_apple_gpu(name: str, tmp_path: Path) -> None:
    words = ["-p", name, "--seeds", "1"]
    for key, value in FEWER.get(name, {}).items():
        words += ["--set", f"{name}.{key}={value}"]
    with pretended("mps"):
        records = sweep(tmp_path / "r", "mps", *words, data="digits")
    assert [r.status for r in records] == ["completed"], [r.reason for r in records]
