"""The pretended machine: what it counts, its random streams, and the tensors that are on its devices."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils.weak import WeakTensorKeyDictionary

from ganbench.conformance.device_use import Seen, where
from ganbench.conformance.pretended_device import rules

aten = torch.ops.aten
INNER = torch.device("lazy", 0)  # what C++ sees: not the CPU, and autograd needs no driver for it
TorchGenerator = torch.Generator
_AS_STRIDED, _META = aten.as_strided_.default.redispatch, torch._C.DispatchKeySet(torch._C.DispatchKey.Meta)


@dataclass
class Machine:
    """One kind of device, ``count`` of them. ``states``: of the devices' own random generators, by number."""

    kind: str
    count: int
    seen: Seen = field(default_factory=Seen)
    current: int = 0
    states: dict[int, Tensor] = field(default_factory=dict)
    sync_debug_mode: int = 0
    origins: WeakTensorKeyDictionary = field(default_factory=WeakTensorKeyDictionary)
    forward_lines: dict[int, str] = field(default_factory=dict)

    def seed(self, seed: int) -> None:
        """Seed every device's generator, as ``torch.manual_seed`` does."""
        self.states = dict.fromkeys(range(self.count), TorchGenerator("cpu").manual_seed(seed).get_state())

    def state(self, index: int) -> Tensor:
        if index not in self.states:
            self.states[index] = TorchGenerator("cpu").manual_seed(0).get_state()
        return self.states[index]

    def device(self, asked: Any) -> torch.device:
        """A device of this kind with its number; raises as CUDA does for one that is not there."""
        found = torch.device(asked)
        if found.type == self.kind and found.index is None:
            return torch.device(self.kind, self.current)
        if found.type == self.kind and found.index >= self.count:
            raise torch.AcceleratorError("CUDA error: invalid device ordinal")
        return found

    def wait(self, asked_as: str, told: bool = True) -> None:
        """Count a wait, and say so as CUDA does in its debug mode."""
        self.seen.waits[f"{where()} ({asked_as})"] += 1
        if told:
            self.tell_of_wait()

    def tell_of_wait(self) -> None:
        """Warn or raise where ``torch.cuda.set_sync_debug_mode`` was asked to."""
        if self.sync_debug_mode == 2:
            raise RuntimeError("called a synchronizing CUDA operation")
        if self.sync_debug_mode == 1:
            warnings.warn("called a synchronizing CUDA operation", stacklevel=2)

    def is_mine(self, device: torch.device | None) -> bool:
        return device is not None and device.type in (self.kind, "lazy")  # lazy: C++ took it from a tensor


_active: list[Machine] = []


def machine() -> Machine:
    """The pretended machine of this moment."""
    return _active[-1]


def two_devices(one: object, other: object, func: Any, wrong: list[Tensor]) -> RuntimeError:
    """What CUDA says, and where the tensors that are on the wrong device were made, if nothing was done to them yet."""
    lines = dict.fromkeys(machine().origins[x] for x in wrong if x in machine().origins)
    made = f"; made at {', '.join(lines)}" if lines else ""
    return RuntimeError(
        f"Expected all tensors to be on the same device, but found at least two devices, {one} and {other}! "
        f"({func}{made})"
    )


class OnDevice(Tensor):
    """A tensor on a pretended device; ``host`` holds its numbers, ``place`` is the device's number."""

    host: Tensor
    place: int
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, host: Tensor, place: int) -> OnDevice:
        made: OnDevice = torch.Tensor._make_wrapper_subclass(
            cls, host.size(), strides=host.stride(), storage_offset=host.storage_offset(), dtype=host.dtype,
            layout=host.layout, device=INNER, requires_grad=False,
        )  # fmt: skip
        made.host, made.place = host, place
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return run(func, args, kwargs or {})

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return machine().kind == "cuda"

    @property
    def is_mps(self) -> bool:  # type: ignore[override]
        return machine().kind == "mps"

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]
        return False

    def get_device(self) -> int:
        return self.place

    def cpu(self, *_: Any, **__: Any) -> Tensor:
        return aten._to_copy.default(self, device=torch.device("cpu"))

    def cuda(self, device: Any = None, *_: Any, **__: Any) -> Tensor:
        return self.to("cuda" if device is None else torch.device("cuda", device) if type(device) is int else device)

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        copy = kwargs.pop("copy", False)
        if args and isinstance(args[0], Tensor):
            args = (args[0].device, args[0].dtype, *args[1:])
        elif isinstance(like := kwargs.pop("other", None), Tensor):
            args = (like.device, like.dtype)
        device, dtype, _, layout = torch._C._nn._parse_to(*args, **kwargs)
        more: dict[str, Any] = {}
        if device is not None and (device := machine().device(device)) != self.device:
            more["device"] = device
        if dtype is not None and dtype != self.dtype:
            more["dtype"] = dtype
        if layout is not None:
            more["memory_format"] = layout
        return aten._to_copy.default(self, **more) if more or copy else self

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first.")

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.numpy()

    def tolist(self) -> Any:
        machine().wait("tolist")
        return self.detach().host.tolist()  # type: ignore[attr-defined]

    def new_tensor(
        self,
        data: Any,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
    ) -> Tensor:
        made = torch.tensor(data, dtype=dtype or self.dtype).to(device or self.device)
        return made.requires_grad_(requires_grad)

    def __getitem__(self, index: Any) -> Tensor:
        return super().__getitem__(_numbers_moved(self, index))

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, int | float):  # torch makes a tensor on the CPU of a number, for CUDA alone
            value = aten.scalar_tensor.default(value, dtype=self.dtype, device=torch.device("cpu"))
        super().__setitem__(_numbers_moved(self, index), value)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.dim() == 0 else object.__format__(self, spec)

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        machine().wait("printing a tensor")
        return f"{repr(self.detach().host)[:-1]}, device='{self.device}')"  # type: ignore[attr-defined]

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        with torch.no_grad():
            made = OnDevice(self.host.clone(), self.place)
        if getattr(self, "_is_param", False):
            made._is_param = True
        made.requires_grad_(self.requires_grad)
        memo[id(self)] = made
        return made

    def __reduce_ex__(self, proto: Any) -> Any:
        return (OnDevice, (self.host, self.place))


def _numbers_moved(tensor: OnDevice, index: Any) -> Any:
    """An index in which lists and arrays of numbers are tensors on the device, to which they are copied."""
    if isinstance(index, tuple):
        return tuple(_numbers_moved(tensor, part) for part in index)
    if isinstance(index, list) or type(index).__module__ == "numpy":
        return torch.as_tensor(index).to(tensor.device)
    return index


def _address(rng: Any) -> int:
    return int(rng._cdata)


_said: dict[int, str] = {}  # which device a generator is of, by the address of what C++ holds of it


class Generator(TorchGenerator):
    """torch.Generator that may say that it is one of the pretended device."""

    place: torch.device

    def __new__(cls, device: Any = "cpu") -> Generator:
        made: Generator = super().__new__(cls, device="cpu")  # type: ignore[call-arg]
        made.place = machine().device(device)
        _said[_address(made)] = made.place.type
        return made

    def __init__(self, device: Any = "cpu") -> None:
        pass

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.place

    def __del__(self) -> None:
        _said.pop(_address(self), None)


def _check_generator(rng: TorchGenerator | None, kind: str) -> None:
    if rng is not None and (said := _said.get(_address(rng), "cpu")) != kind:
        raise RuntimeError(f"Expected a '{kind}' device type for generator but found '{said}'")


def _each(change: Callable[[Any], Any], value: Any) -> Any:
    """What torch's operations take and give, with every part changed: values, and lists or tuples of them."""
    if type(value) is list:
        return [_each(change, part) for part in value]
    if type(value) is tuple:
        return tuple([_each(change, part) for part in value])
    return change(value)


def _on_host(value: Any) -> Any:
    return value.host if isinstance(value, OnDevice) else value


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation: checked by the rules of the device, counted, and computed on the CPU."""
    here = machine()
    mine: list[OnDevice] = []
    others: list[Tensor] = []

    def sort(value: Any) -> None:
        if isinstance(value, OnDevice):
            mine.append(value)
        elif isinstance(value, Tensor):
            others.append(value)

    _each(sort, args)
    asked = rng = None
    if kwargs:
        _each(sort, tuple(kwargs.values()))
        asked, rng = kwargs.get("device"), kwargs.get("generator")
        asked = None if asked is None else torch.device(asked)
    name = rules.short_name(func)
    if not mine and not here.is_mine(asked):
        _check_generator(rng, "cpu")
        return _noted(here, name, others, func(*args, **kwargs))
    _check_devices(here, name, func, args, mine, others)
    _check_generator(rng, here.kind)

    if asked is not None and asked.type == here.kind:
        place = here.device(asked).index
    else:
        place = mine[0].place if mine else here.current
    to_device = name == "_to_copy" and not mine
    to_host = asked is not None and asked.type == "cpu"
    if name == "copy_" and isinstance(args[1], Tensor):
        to_device, to_host = not isinstance(args[1], OnDevice), not isinstance(args[0], OnDevice)
    _count(here, name, func, args, kwargs, to_device, to_host, others)

    written = {id(x.host): x for x in mine}
    host_args = _each(_on_host, args)
    host_kwargs = {name: _each(_on_host, value) for name, value in kwargs.items()}
    if asked is not None:
        host_kwargs["device"] = torch.device("cpu")
    if torch.Tag.nondeterministic_seeded in func.tags and rng is None:
        found = _with_own_stream(here, place, func, host_args, host_kwargs)
    else:
        found = func(*host_args, **host_kwargs)
    if torch.Tag.inplace_view in func.tags:  # transpose_ and the like: the shape that autograd sees changes too
        with no_dispatch():
            of = args[0].host
            _AS_STRIDED(_META, args[0], of.size(), of.stride(), of.storage_offset())
    if to_host:
        return found if name != "copy_" else args[0]

    def back(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        if (same := written.get(id(x))) is not None:
            return same
        if here.kind == "mps" and x.dtype in (torch.float64, torch.complex128):
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64. Please use "
                "float32 instead."
            )
        return OnDevice(x, place)

    return _noted(here, name, mine + others, _each(back, found))


def _noted(here: Machine, name: str, of: list[Tensor], made: Any) -> Any:
    """A result; of a tensor that is made of nothing it is noted where."""
    if isinstance(made, Tensor) and (not of or name.endswith("_like") or name.startswith("new_")):
        here.origins[made] = where()
    return made


def _check_devices(here: Machine, name: str, func: Any, args: Any, mine: list[OnDevice], others: list[Tensor]) -> None:
    """Raise as CUDA does for tensors of several devices in one operation that takes those of one."""
    places = {x.place for x in mine}
    if len(places) > 1 and name not in ("copy_", "_to_copy"):
        first, second = sorted(places)[:2]
        wrong: list[Tensor] = [x for x in mine if x.place != here.current]
        raise two_devices(f"{here.kind}:{first}", f"{here.kind}:{second}", func, wrong)
    if not mine or not others:
        return
    if name in rules.INDEXING:
        if not isinstance(args[0], OnDevice):
            raise RuntimeError(
                "indices should be either on cpu or on the same device as the indexed tensor (cpu), but found one on "
                f"{mine[0].device}"
            )
        return
    if name in rules.MIXING:
        return
    numbers = torch.Tag.pointwise in func.tags or name.startswith("_foreach") or name in rules.TAKES_CPU_NUMBER
    written = isinstance(args[0], Tensor) and not isinstance(args[0], OnDevice) and name.endswith("_")
    if written or any(x.dim() > 0 or not numbers for x in others):
        raise two_devices(mine[0].device, "cpu", func, others)


def _count(
    here: Machine, name: str, func: Any, args: Any, kwargs: Any, to_device: bool, to_host: bool, others: list[Tensor]
) -> None:
    """Note what a call would have done on a GPU: copy there, copy back and wait, or mix devices."""
    seen = here.seen
    if to_device:
        seen.to_device[where()] += 1
        here.tell_of_wait()
        return
    if to_host:
        seen.to_host[where()] += 1
        here.tell_of_wait()
        return
    if name in rules.INDEXING and any(x.dim() > 0 for x in others):  # an index on the CPU is copied
        seen.to_device[where()] += 1
        here.tell_of_wait()
    if rules.waits(name, func, args, kwargs):
        here.wait(_asked_as(name))
    if not (func.is_view or name in rules.NO_KERNEL):
        seen.kernels[name] += 1
    if name in rules.FORWARD:  # autograd has numbered the node of its backward pass just before
        here.forward_lines[torch._C._autograd._get_sequence_nr() - 1] = where()
    if rules.is_nondeterministic(name, func, args, kwargs):
        node = torch._C._current_autograd_node()
        line = here.forward_lines.get(node._sequence_nr()) if node else None
        seen.nondeterministic[f"{line or where()} ({name})"] += 1
        if torch.are_deterministic_algorithms_enabled():
            warnings.warn(
                f"{name}_cuda does not have a deterministic implementation, but you set "
                "'torch.use_deterministic_algorithms(True, warn_only=True)'.",
                stacklevel=2,
            )


def _asked_as(name: str) -> str:
    """An operation that waits, as its author wrote it."""
    if name == "_local_scalar_dense":
        return "item, float, int, bool, or a comparison in an if"
    return "a boolean mask as index" if name in rules.INDEXING else name


def _with_own_stream(here: Machine, place: int, func: Any, args: Any, kwargs: Any) -> Any:
    """Draw from the device's generator, not from the CPU's."""
    own = torch._C.default_generator
    kept = own.get_state()
    own.set_state(here.state(place))
    try:
        return func(*args, **kwargs)
    finally:
        here.states[place] = own.get_state()
        own.set_state(kept)
