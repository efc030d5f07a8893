"""Named random streams, and the settings of a process on which the bits depend."""

from __future__ import annotations

import hashlib
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganbench.utils.seeding import (
    Settings,
    derive,
    pin,
    preserved_rng,
    rng_state,
    seed_everything,
    set_float32_precision,
    set_rng_state,
)

LARGE = 2**62 + 2**31 + 5
PARTS = st.lists(st.integers(0, 99) | st.text("abc", min_size=1, max_size=3), max_size=3)


@given(st.integers(0, 2**63 - 1), PARTS)
def test_a_stream_is_63_bits_of_the_hash_of_its_name(root: int, path: list[str | int]) -> None:
    name = "/".join([str(root), *map(str, path)])
    expected = int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) // 2
    assert derive(root, *path) == expected < 2**63


def test_streams_of_the_same_letters_differ() -> None:
    assert derive(0, "data-order", 7) == 8509406112307285982  # in every record there is
    assert len({derive(1, 2, 3), derive(1, 23), derive(12, 3), derive(123), derive(3, 2, 1)}) == 5


def draws() -> list[float]:
    return [torch.rand(1).item(), np.random.rand(), np.random.randn(), random.random(), random.gauss(0, 1)]


def test_all_three_generators_are_seeded_with_every_bit_they_take() -> None:
    with preserved_rng(0):
        seed_everything(LARGE)
        found = draws()
    numpy, python = np.random.RandomState(LARGE % 2**32), random.Random(LARGE)
    tensor = torch.rand(1, generator=torch.Generator().manual_seed(LARGE)).item()
    assert found == [tensor, numpy.rand(), numpy.randn(), python.random(), python.gauss(0, 1)]


def test_a_state_holds_the_second_of_two_normal_draws_that_are_made_at_once() -> None:
    with preserved_rng(3):
        np.random.randn(), random.gauss(0, 1)
        state = rng_state()
        expected = [np.random.randn(), random.gauss(0, 1), *draws()]
        seed_everything(4)
        set_rng_state(state)
        assert [np.random.randn(), random.gauss(0, 1), *draws()] == expected


def test_a_block_is_seeded_and_leaves_no_trace_even_where_it_raises() -> None:
    with preserved_rng(0):
        seed_everything(5)
        expected = draws()
    before = rng_state()
    with pytest.raises(KeyError), preserved_rng(5):
        assert draws() == expected
        raise KeyError
    with preserved_rng(5):
        pass
    after = rng_state()
    assert torch.equal(before["torch"], after["torch"]) and before["random"]["gauss"] == after["random"]["gauss"]
    assert torch.equal(before["numpy"]["keys"], after["numpy"]["keys"])
    assert torch.equal(before["random"]["internal"], after["random"]["internal"])


@pytest.fixture
def process() -> Iterator[Settings]:
    """The settings of this process, put back one by one."""
    before, fills = Settings.now(), torch.utils.deterministic.fill_uninitialized_memory
    yield before
    torch.set_default_dtype(before.dtype)
    torch.set_default_device(None)
    torch.set_num_threads(before.threads)
    torch.set_deterministic_debug_mode(before.deterministic)
    cudnn = torch.backends.cudnn
    cudnn.enabled, cudnn.benchmark, cudnn.deterministic = before.cudnn
    torch.utils.deterministic.fill_uninitialized_memory = fills
    np.seterr(**before.numpy)
    sys.setrecursionlimit(before.recursion)
    set_float32_precision(before.precision)


def switch(backend: Any) -> None:
    """Another precision than that of now, which earlier tests may have set."""
    backend.fp32_precision = "ieee" if backend.fp32_precision == "tf32" else "tf32"


CHANGES: dict[str, Callable[[], Any]] = {
    "dtype": lambda: torch.set_default_dtype(torch.float64),
    "device": lambda: torch.set_default_device("meta"),
    "threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "deterministic": lambda: torch.set_deterministic_debug_mode("error"),
    "cudnn": lambda: setattr(torch.backends.cudnn, "benchmark", not torch.backends.cudnn.benchmark),
    "cudnn alone": lambda: setattr(torch.backends.cudnn, "enabled", False),
    "precision": lambda: torch.set_float32_matmul_precision("medium"),
    "precision by the new interface": lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
    "precision of convolutions": lambda: switch(torch.backends.cudnn.conv),
    "precision of cudnn": lambda: setattr(torch.backends.cudnn, "allow_tf32", not torch.backends.cudnn.allow_tf32),
    "precision of everything": lambda: setattr(torch.backends, "fp32_precision", "tf32"),
    "precision on the CPU": lambda: setattr(torch.backends.mkldnn.matmul, "fp32_precision", "bf16"),
    "numpy": lambda: np.seterr(over="raise", divide="raise"),
    "warnings": lambda: warnings.simplefilter("ignore", ResourceWarning),
    "recursion": lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 500),
}


@pytest.mark.parametrize("name", CHANGES)
def test_settings_hold_within_a_block_and_are_put_back_after_it(name: str, process: Settings) -> None:
    with process.hold():
        CHANGES[name]()
        field = name.partition(" ")[0]
        assert getattr(Settings.now(), field) != getattr(process, field)
    assert Settings.now() == process
    CHANGES[name]()
    changed = Settings.now()
    with pytest.raises(KeyError), process.hold():
        assert Settings.now() == process
        raise KeyError
    assert Settings.now() == changed != process


def test_settings_can_be_read_and_put_back_after_the_new_interface_was_used_alone(process: Settings) -> None:
    with process.hold():
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        with pytest.raises(RuntimeError, match="mix of the legacy and new APIs"):
            torch.get_float32_matmul_precision()
        Settings.now()
    assert torch.get_float32_matmul_precision() == process.precision["matmul"]
    assert Settings.now() == process


def test_a_pinned_process_is_deterministic(process: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = True, False
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    pin(process.threads + 1)
    assert torch.get_num_threads() == process.threads + 1
    assert torch.get_deterministic_debug_mode() == 1  # warns
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == (False, True)
    assert torch.backends.cudnn.conv.fp32_precision == torch.backends.cudnn.rnn.fp32_precision == "ieee"
    assert not torch.utils.deterministic.fill_uninitialized_memory
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    # The older interface goes on working beside the newer one.
    assert torch.backends.cudnn.allow_tf32 is False
    with torch.backends.cudnn.flags(enabled=False):
        pass
    assert torch.backends.cudnn.allow_tf32 is False
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    pin(process.threads)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"  # the user's choice stays
