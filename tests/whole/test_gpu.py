"""What only a CUDA device can show. Skipped without one; docs/performance.md says which of these were ever run.

That these tests are right as far as a pretended device can tell is what test_gpu_rehearsed.py shows.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from ganbench.cli import cli
from ganbench.conformance import CheckFailed, checks_for
from ganbench.harness import environment
from ganbench.harness.seeds_engine.lockstep import copy_of_global_generator
from ganbench.plugin.variant import Unsuitable, Variant
from ganbench.results.schema import Record
from ganbench.results.store import read_records
from ganbench.utils.seeding import Settings, pin, rng_state, seed_everything, set_rng_state

# Trainings and plugins are those of the rehearsal.
_spec = importlib.util.spec_from_file_location("rehearsal", Path(__file__).with_name("test_rehearsal.py"))
assert _spec and _spec.loader
rehearsal = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(rehearsal)
VARIANTS = rehearsal.VARIANTS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here"),
]


ENGINE: list[str] = []  # words that choose another than the default one


def ganbench(*words: str) -> str:
    return str(rehearsal.ganbench(*words, *ENGINE))


def sweep(folder: Path, *more: str) -> list[Record]:
    words = "run -d digits --images 1280 --evaluations 2 --samples 200 --device cuda --metrics fid --results"
    ganbench(*words.split(), str(folder), *more)
    return read_records(folder).records


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_trial_repeats_its_bits(precision: str, tmp_path: Path) -> None:
    first, second = (
        sweep(tmp_path / name, "-p", "dcgan,vanilla", "--seeds", "1", "--precision", precision) for name in "ab"
    )
    assert {r.status for r in first} == {"completed"}
    assert [r.state_sha256 for r in first] == [r.state_sha256 for r in second]
    assert {r.identity.trial.device for r in first} == {"cuda"}
    assert {r.environment["device"] for r in first} == {torch.cuda.get_device_name(0)}


def test_seeds_together_repeat_their_bits_and_need_not_be_asked_for_at_once(tmp_path: Path) -> None:
    words = ("-p", "vanilla", "--set", "vanilla.width=32", "--engine", "seeds")
    both = sweep(tmp_path / "a", *words, "--seeds", "4")
    some = sweep(tmp_path / "b", *words, "--seeds", "1,2,3")
    assert {r.identity.trial.engine for r in both} == {"seeds"}
    known = {r.identity.trial.seed: r.state_sha256 for r in both}
    assert all(known[r.identity.trial.seed] == r.state_sha256 for r in some)


def test_random_states_come_back() -> None:
    seed_everything(0)
    torch.rand(3, device="cuda")
    state, own = rng_state(), copy_of_global_generator(torch.device("cuda", 0))
    drawn = torch.rand(5, device="cuda")
    assert torch.equal(torch.rand(5, device="cuda", generator=own), drawn)
    set_rng_state(state)
    assert torch.equal(torch.rand(5, device="cuda"), drawn)


def test_switches_are_set_before_the_first_call() -> None:
    pin(1)
    assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.conv.fp32_precision == "ieee"


def test_the_older_and_the_newer_interface_of_tf32_work_after_it() -> None:
    pin(1)
    assert torch.backends.cudnn.allow_tf32 is False
    with torch.backends.cudnn.flags(enabled=True, deterministic=True):
        torch.nn.functional.conv2d(torch.ones(1, 1, 4, 4, device="cuda"), torch.ones(1, 1, 3, 3, device="cuda"))
    before = Settings.now()
    with before.hold():
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        Settings.now()
    assert Settings.now() == before


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("data", ["ring8", "digits"])
def test_a_step_waits_for_nothing_and_resumes_to_the_same_bits(name: str, data: str, tmp_path: Path) -> None:
    pin(1)
    cls, device = rehearsal.thing("variant", name), environment.use_device("cuda")
    try:
        first = rehearsal.training(cls, data, device)
    except Unsuitable as reason:
        pytest.skip(str(reason))
    with first.telemetry:
        first.evaluate(last=False)
        first.advance(3, rehearsal.NEVER)
        first.save(tmp_path / "checkpoint")
        torch.cuda.set_sync_debug_mode("error" if first.variant.optimizers else "default")
        try:
            first.advance(6, rehearsal.NEVER)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        first.evaluate(last=True)
    again = rehearsal.training(cls, data, device)
    assert again.resume(tmp_path / "checkpoint")
    with again.telemetry:
        again.advance(6, rehearsal.NEVER)
    assert rehearsal.state_of(again) == rehearsal.state_of(first)
    assert not first.telemetry.nondeterministic


@pytest.mark.parametrize("device", ["cuda", f"cuda:{max(torch.cuda.device_count() - 1, 0)}"])
def test_a_trial_is_verified_rescored_and_sampled_again(device: str, tmp_path: Path) -> None:
    words = "run -d ring8 -p vanilla --seeds 1 --images 640 --evaluations 2 --samples 200 --metrics fid --device"
    results = tmp_path / "r"
    ganbench(*words.split(), device, "--results", str(results))
    said = ganbench("verify", str(results), "--rerun", "1")
    assert "states: 1 bit-identical" in said and "reruns: 1 bit-identical" in said
    ganbench("rescore", str(results), "--metrics", "fid,coverage")
    folder = next(results.glob("ring8/*/seed-0-*"))
    ganbench("sample", str(folder), "--n", "5", "--out", str(tmp_path / "five.npy"))
    cost = json.loads((folder / "cost.json").read_text())
    assert cost["peak_device_memory_bytes"] > 0 or torch.cuda.get_device_name() == "Pretended GPU"


@pytest.mark.parametrize(("trained", "read"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_trial_is_read_on_another_type_of_device(trained: str, read: str, tmp_path: Path) -> None:
    words = "run -d ring8 -p vanilla --seeds 1 --images 640 --evaluations 2 --samples 200 --metrics fid --device"
    results = tmp_path / "r"
    ganbench(*words.split(), trained, "--results", str(results))
    verified = CliRunner().invoke(cli, ["verify", str(results), "--device", read, *ENGINE])
    assert verified.exit_code in (0, 1), verified.output  # by random numbers that are the same, or others
    assert "MISMATCH" not in verified.output
    ganbench("rescore", str(results), "--metrics", "coverage", "--device", read)
    (folder,) = results.glob("ring8/*/seed-0-*")
    ganbench("sample", str(folder), "--n", "5", "--out", str(tmp_path / "five.npy"), "--device", read)


def test_a_record_names_what_has_no_deterministic_kernel(tmp_path: Path) -> None:
    (tmp_path / "mistaken.py").write_text(rehearsal.PLUGIN)
    (record,) = sweep(tmp_path / "r", "-p", "bicubic", "--seeds", "1", "--plugin-path", str(tmp_path / "mistaken.py"))
    assert record.telemetry and any("upsample_bicubic2d_backward" in o for o in record.telemetry.nondeterministic)


def test_a_killed_trial_goes_on_to_the_bits_of_one_that_was_not(tmp_path: Path, device: str = "cuda") -> None:
    words = (
        "run -p dcgan -d digits --seeds 1 --images 1280 --evaluations 4 --samples 200 --metrics fid --executor inline"
    )

    def run(results: str, **more: str) -> int:
        command = [
            sys.executable,
            "-m",
            "ganbench",
            *words.split(),
            "--device",
            device,
            "--results",
            str(tmp_path / results),
        ]
        return subprocess.run(command, env={**os.environ, **more}, capture_output=True).returncode

    killed = {"GANBENCH_CHECKPOINT_SECONDS": "0", "GANBENCH_FAILPOINT": "rename.checkpoint.safetensors:3:kill"}
    assert (run("whole"), run("killed", **killed), run("killed")) == (0, -signal.SIGKILL, 0)
    (whole,), (resumed,) = (read_records(tmp_path / name).records for name in ("whole", "killed"))
    assert whole.status == resumed.status == "completed"
    assert resumed.state_sha256 == whole.state_sha256 and resumed.evaluations == whole.evaluations
    (cost,) = (json.loads(path.read_text()) for path in tmp_path.glob("killed/*/*/*/cost.json"))
    assert cost["attempts"] == 2


@pytest.mark.parametrize(
    "name", ["an_item", "a_tensor_of_a_list", "a_boolean_mask", "adaptive_pooling", "its_numpy_method"]
)
def test_the_check_of_devices_tells_of_a_mistake(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "fixtures"))
    import device_mistakes

    said = {"adaptive_pooling": "no deterministic kernel for", "its_numpy_method": "to numpy"}.get(
        name, "would wait at"
    )
    with pytest.raises(CheckFailed, match=f"{said}.*device_mistakes.py, line"):
        devices_of(getattr(device_mistakes, name))


@pytest.mark.parametrize("name", VARIANTS)
def test_the_check_of_devices_passes_variants(name: str) -> None:
    assert devices_of(rehearsal.thing("variant", name)).startswith("CPU and GPU")


def devices_of(cls: type[Variant]) -> str:
    return str(next(check for check in checks_for(cls) if check.name == "devices")(cls))


def test_the_training_is_not_charged_to_the_evaluation() -> None:
    one = rehearsal.training(rehearsal.thing("variant", "vanilla"), "ring8", torch.device("cuda", 0))
    a = torch.randn(8192, 8192, device="cuda")
    torch.cuda.synchronize()
    with one.timed("training"):
        for _ in range(20):
            a = torch.tanh(a @ a)
    with one.timed("evaluation"):
        pass
    assert one.seconds["evaluation"] < 0.1 * one.seconds["training"]


def test_several_devices_take_turns() -> None:
    assert environment.devices("auto") == [f"cuda:{i}" for i in range(torch.cuda.device_count())]


HOARDER = """
import torch
from ganbench.plugin import Variant, hookimpl

class Hoarder(Variant):
    name = "hoarder"
    def train_step(self, batch, clock):
        self.memory[f"of step {clock.step}"] = torch.ones(2**32, device=batch.data.device)  # 16 GiB
        return {}
    def sample(self, n, rng=None):
        return torch.zeros(n, *self.shape, device=rng.device)

@hookimpl
def ganbench_variants():
    return [Hoarder]
"""


def test_a_trial_that_fills_the_device_is_out_of_memory(tmp_path: Path) -> None:
    (tmp_path / "hoarder.py").write_text(HOARDER)
    words = "run -p hoarder -d digits --seeds 1 --images 64000 --evaluations 1 --samples 200 --device cuda --results"
    result = CliRunner().invoke(
        cli, [*words.split(), str(tmp_path / "r"), "--plugin-path", str(tmp_path / "hoarder.py")]
    )
    (record,) = read_records(tmp_path / "r").records
    assert record.status == "oom" and "CUDA out of memory" in record.reason, result.output
