"""The tests of test_gpu.py on a pretended device, so that they are not found to be wrong on the day of the first GPU.

Each asserts what it does there, and here that kernels ran on the pretended device: one on the CPU shows nothing.
Left out is what a pretended device cannot show: times and full memory. pytest -m slow runs those that take longer.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ganbench.conformance.pretended_device import Seen, pretended
from ganbench.utils.seeding import Settings

_spec = importlib.util.spec_from_file_location("gpu", Path(__file__).with_name("test_gpu.py"))
assert _spec and _spec.loader
gpu = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(gpu)

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a real GPU is there: pytest -m gpu")
SLOW = pytest.mark.slow


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """Two pretended GPUs; jobs run in this process, for others know nothing of them."""
    monkeypatch.setattr(gpu, "ENGINE", ["--executor", "inline"])
    before = Settings.now()
    with pretended("cuda") as seen:
        yield seen
    before.set()


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=SLOW)])
@SLOW
def test_bits(precision: str, tmp_path: Path, device: Seen) -> None:
    gpu.test_a_trial_repeats_its_bits(precision, tmp_path)
    assert device.kernels


@SLOW
def test_seeds_together(tmp_path: Path, device: Seen) -> None:
    gpu.test_seeds_together_repeat_their_bits_and_need_not_be_asked_for_at_once(tmp_path)
    assert device.kernels


def test_random_states(device: Seen) -> None:
    gpu.test_random_states_come_back()
    assert device.kernels


def test_switches(device: Seen) -> None:
    gpu.test_switches_are_set_before_the_first_call()
    gpu.test_the_older_and_the_newer_interface_of_tf32_work_after_it()
    assert device.kernels


@pytest.mark.parametrize("name", ["dcgan", "unrolled", "gmm"])
def test_steps(name: str, tmp_path: Path, device: Seen) -> None:
    gpu.test_a_step_waits_for_nothing_and_resumes_to_the_same_bits(
        name, "ring8" if name == "gmm" else "digits", tmp_path
    )
    assert device.kernels


def test_a_step_that_waits_is_seen(tmp_path: Path, device: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        gpu.rehearsal,
        "thing",
        lambda kind, name, thing=gpu.rehearsal.thing: gpu.rehearsal.Waits if name == "waits" else thing(kind, name),
    )
    with pytest.raises(RuntimeError, match="called a synchronizing CUDA operation"):
        gpu.test_a_step_waits_for_nothing_and_resumes_to_the_same_bits("waits", "digits", tmp_path)


@pytest.mark.parametrize("named", ["cuda:1", pytest.param("cuda", marks=SLOW)])
def test_again(named: str, tmp_path: Path, device: Seen) -> None:
    gpu.test_a_trial_is_verified_rescored_and_sampled_again(named, tmp_path)
    assert device.kernels


@pytest.mark.parametrize(("trained", "read"), [("cuda", "cpu"), pytest.param("cpu", "cuda", marks=SLOW)])
def test_elsewhere(trained: str, read: str, tmp_path: Path, device: Seen) -> None:
    gpu.test_a_trial_is_read_on_another_type_of_device(trained, read, tmp_path)
    assert device.kernels


@SLOW
def test_a_kill(tmp_path: Path) -> None:
    gpu.test_a_killed_trial_goes_on_to_the_bits_of_one_that_was_not(tmp_path, "cpu")
    assert len(list(tmp_path.rglob("record.json"))) == 2


def test_names(tmp_path: Path, device: Seen) -> None:
    gpu.test_a_record_names_what_has_no_deterministic_kernel(tmp_path)
    assert device.kernels


def test_turns(device: Seen) -> None:
    gpu.test_several_devices_take_turns()
    assert gpu.environment.devices("auto") == ["cuda:0", "cuda:1"]


def test_the_check(device: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu.test_the_check_of_devices_tells_of_a_mistake("an_item", monkeypatch)
    gpu.test_the_check_of_devices_passes_variants("dcgan")
