"""The pretended device by itself: what operations do on it, its streams, and that nothing of it stays."""

from __future__ import annotations

import copy
import io
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from ganbench.conformance.pretended_device import pretended
from ganbench.utils.seeding import Settings, preserved_rng, rng_state, seed_everything, set_rng_state

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a real GPU is there")

WAIT: dict[str, Callable[[Any], Any]] = {
    "item": lambda x: x.sum().item(),
    "int": lambda x: int(x[0, 0]),
    "if": lambda x: 1 if x.sum() > 0 else 0,
    "range": lambda x: range(int(x[0, 0].abs())),
    "every number": lambda x: [float(v) for v in x[0]],
    "print": repr,
    "text": lambda x: f"{x.sum():.2f}",
    "max of Python": lambda x: max(x.sum(), x.mean()),
    "tolist": lambda x: x.tolist(),
    "mask": lambda x: x[x > 0],
    "mask that is written": lambda x: x.__setitem__(x > 0, torch.ones(16, device=x.device)),
    "where": lambda x: torch.where(x > 0),
    "nonzero": lambda x: x.nonzero(),
    "unique": lambda x: x.unique(),
    "equal": lambda x: torch.equal(x, x),
    "allclose": lambda x: torch.allclose(x, x),
    "repeats": lambda x: x.repeat_interleave(torch.ones(4, dtype=torch.int64, device=x.device), 0),
    "inverse": lambda x: torch.linalg.inv(x),
    "singular values": lambda x: torch.linalg.svdvals(x),
    "deviations": lambda x: torch.normal(x, x.abs()),
    "classes without a number": lambda x: functional.one_hot(x[0].abs().long()),
    "checked distribution": lambda x: torch.distributions.Normal(x, x.abs() + 1),
    "synchronize": lambda x: torch.cuda.synchronize(),
    "event": lambda x: torch.cuda.Event().synchronize(),
}
NO_WAIT: dict[str, Callable[[Any], Any]] = {
    "shape": lambda x: x.shape[0] + x.numel() + x.dim(),
    "number on the CPU": lambda x: x * torch.tensor(2.0),
    "filled": lambda x: x.masked_fill(x > 0, 0.0),
    "number set by a mask": lambda x: x.__setitem__(x > 0, 0.0),
    "where": lambda x: torch.where(x > 0, x, x),
    "classes": lambda x: functional.one_hot(x[0].abs().long().clamp(max=9), 10),
    "rows": lambda x: x[torch.randperm(4, device=x.device)],
    "clipped": lambda x: nn.utils.clip_grad_norm_([x], 1.0),
    "with replacement": lambda x: torch.multinomial(x.abs() + 1, 3, replacement=True),
    "sorted": lambda x: x.sort().values[0],
}
REFUSED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "two devices": ("cuda:0 and cpu", lambda x: x + torch.ones(4, 4)),
    "two GPUs": ("cuda:0 and cuda:1", lambda x: x @ torch.ones(4, 4, device="cuda:1")),
    "numbers in a stack": ("cuda:0 and cpu", lambda x: torch.stack([x.sum(), torch.tensor(1.0)])),
    "a product": ("cuda:0 and cpu", lambda x: nn.Linear(4, 4)(x)),
    "out": ("cuda:0 and cpu", lambda x: torch.zeros(()).add_(x.sum())),
    "table": ("indices should be either on cpu", lambda x: torch.zeros(9)[x[0].abs().long()]),
    "numpy": ("can't convert cuda:0 device type tensor to numpy", lambda x: x.numpy()),
    "generator": ("Expected a 'cuda' device type", lambda x: x.normal_(generator=torch.Generator())),
    "generator of it": ("Expected a 'cpu' device type", lambda x: torch.rand(3, generator=torch.Generator("cuda"))),
    "no such device": ("invalid device ordinal", lambda x: x.to("cuda:9")),
    "set no such device": ("invalid device ordinal", lambda x: torch.cuda.set_device("cuda:9")),
    "bare cuda": ("Expected a torch.device with a specified index", lambda x: torch.cuda.set_device("cuda")),
}


@pytest.mark.parametrize("name", WAIT)
def test_it_waits(name: str) -> None:
    with pretended() as seen:
        x = torch.arange(16.0, device="cuda").reshape(4, 4) + torch.eye(4, device="cuda")
        seen.clear()
        WAIT[name](x)
        assert seen.waits and all(line.startswith("test_pretended_device.py, line ") for line in seen.waits)


@pytest.mark.parametrize("name", NO_WAIT)
def test_it_does_not_wait(name: str) -> None:
    with pretended() as seen:
        x = torch.randn(4, 4, device="cuda", requires_grad=name == "clipped")
        x.sum().backward() if x.requires_grad else None
        seen.clear()
        NO_WAIT[name](x)
        assert not seen.waits and not seen.to_device and not seen.to_host


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(name: str) -> None:
    said, operation = REFUSED[name]
    with pretended():
        x = torch.randn(4, 4, device="cuda")
        with pytest.raises((RuntimeError, TypeError, ValueError), match=said):
            operation(x)


def test_copies_are_counted_where_they_were_asked_for() -> None:
    with pretended() as seen:
        x = torch.zeros(3, device="cuda")
        seen.clear()
        for make in (
            lambda: torch.tensor([1.0], device="cuda"),
            lambda: torch.ones(3).to("cuda"),
            lambda: torch.ones(3).cuda(),
            lambda: x.new_tensor([1.0]),
            lambda: x[[0, 1]],
            lambda: x.copy_(torch.ones(3)),
        ):
            make()
        assert sum(seen.to_device.values()) == 6 and len(seen.to_device) == 6 and not seen.to_host
        for make in (x.cpu, lambda: x.to("cpu"), lambda: torch.zeros(3).copy_(x)):
            make()
        assert sum(seen.to_host.values()) == 3 and sum(seen.to_device.values()) == 6


def test_gradients_optimizers_copies_and_files_are_those_of_the_cpu() -> None:
    def train(device: str) -> list[Any]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))
        optimizer = torch.optim.Adam(net.parameters())  # before it is moved
        net = net.to(device)
        x = torch.arange(32.0).reshape(8, 4).to(device) / 32
        for _ in range(3):
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
        file = io.BytesIO()
        torch.save(copy.deepcopy(net).state_dict(), file)
        file.seek(0)
        return list(torch.load(file, map_location="cpu").values())

    there_and_here = []
    with pretended():
        there_and_here.append(train("cuda"))
    there_and_here.append(train("cpu"))
    assert all(torch.equal(a, b) for a, b in zip(*there_and_here, strict=True))


def test_what_changes_a_tensor_in_place_changes_what_autograd_sees_of_it() -> None:
    with pretended():
        p = nn.Parameter(torch.arange(6.0).reshape(2, 3))
        p.data = p.data.cuda()
        assert p.device == torch.device("cuda", 0) and p.is_leaf and p.requires_grad
        p.data = p.data.t() * 2
        assert p.shape == (3, 2) and p.cpu().tolist() == [[0, 6], [2, 8], [4, 10]]
        p.data.clamp_(max=5)
        assert p.cpu().max() == 5
        for change, shape in (
            (lambda x: x.transpose_(0, 1), (3, 2)),
            (lambda x: x.unsqueeze_(0), (1, 2, 3)),
            (lambda x: x.t_(), (3, 2)),
            (lambda x: x.resize_(4), (4,)),
            (lambda x: x.set_(torch.ones(5, device="cuda")), (5,)),
        ):
            x = torch.arange(6.0, device="cuda").reshape(2, 3)
            change(x)
            assert x.shape == x.cpu().shape == shape and x.stride() == x.cpu().stride()
        x = torch.ones(2, 3, device="cuda", requires_grad=True)
        (x * 2).t_().sum().backward()
        assert x.grad is not None and x.grad.shape == (2, 3)


def test_hooks_of_a_parameter_move_with_it() -> None:
    asked: list[torch.device] = []
    with pretended():
        net = nn.Linear(2, 1)
        net.weight.register_hook(lambda gradient: asked.append(gradient.device))
        net.to("cuda")(torch.ones(1, 2, device="cuda")).sum().backward()
        assert asked == [torch.device("cuda", 0)]


def test_cudas_debug_mode_tells_of_waits_and_copies() -> None:
    with pretended() as seen, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        x = torch.zeros(3, device="cuda")
        torch.cuda.set_sync_debug_mode("warn")
        asked = (lambda: x.sum().item(), x.cpu, lambda: torch.ones(3).to("cuda"), lambda: x[x > 0], lambda: repr(x))
        for ask in asked:
            ask()
        assert len(told) == 5 and {str(one.message) for one in told} == {"called a synchronizing CUDA operation"}
        torch.cuda.set_sync_debug_mode("error")
        assert torch.cuda.get_sync_debug_mode() == 2
        for ask in asked:
            with pytest.raises(RuntimeError, match="called a synchronizing CUDA operation"):
                ask()
        torch.cuda.synchronize()  # as on a GPU, this is not told
        assert seen.waits.total() == 7


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_the_stream_of_the_device_is_its_own_and_comes_back(kind: str) -> None:
    with pretended(kind):
        seed_everything(3)
        before = rng_state()
        drawn = torch.rand(5, device=kind).cpu()
        assert torch.equal(torch.get_rng_state(), before["torch"])  # the CPU's stream is where it was
        with preserved_rng(9):
            torch.rand(5, device=kind)
        torch.rand(5, device=kind)
        set_rng_state(before)
        assert torch.equal(torch.rand(5, device=kind).cpu(), drawn)


def test_autocast_lowers_products_and_raises_sums() -> None:
    with pretended(), torch.autocast("cuda", torch.bfloat16):
        x = torch.randn(4, 4, device="cuda")
        w = torch.randn(4, 4, device="cuda", requires_grad=True)
        assert (x @ w).dtype == functional.linear(x, w).dtype == torch.bfloat16
        assert functional.softplus(x @ w).dtype == (x @ w).sum().dtype == torch.float32
        assert (x + w).dtype == torch.float32
        with torch.autocast("cuda", enabled=False):
            assert (x @ w).dtype == torch.float32
        (x @ w).sum().backward()
        assert w.grad is not None and w.grad.dtype == torch.float32


def test_an_apple_gpu_has_no_float64() -> None:
    with pretended("mps"):
        for make in (
            lambda: torch.zeros(3, dtype=torch.float64, device="mps"),
            lambda: torch.zeros(3, device="mps").double(),
            lambda: torch.zeros(3, dtype=torch.float64).to("mps"),
        ):
            with pytest.raises(TypeError, match="MPS framework doesn't support float64"):
                make()


def test_nothing_of_it_stays_not_even_where_it_was_imported_by_name() -> None:
    before, module = Settings.now(), ModuleType("imported")
    early = ModuleType("early")
    early.Generator = torch.Generator  # type: ignore[attr-defined]
    sys.modules |= {"imported": module, "early": early}
    try:
        own = torch.Generator, torch.tensor, torch.Tensor.to, torch.Tensor.device, torch.autocast.__enter__
        with pretended():
            module.Generator = torch.Generator  # type: ignore[attr-defined]
            assert early.Generator is torch.Generator is not own[0]
            kept = torch.zeros(3, device="cuda")
        assert module.Generator is early.Generator is torch.Generator  # type: ignore[attr-defined]
        assert own == (torch.Generator, torch.tensor, torch.Tensor.to, torch.Tensor.device, torch.autocast.__enter__)
        assert not torch.cuda.is_available() and Settings.now() == before
        with pretended():
            assert kept.device == torch.device("cuda", 0)
    finally:
        del sys.modules["imported"], sys.modules["early"]
