"""The context manager ``pretended``: stand-ins for what ``torch`` asks a driver, put in place and taken away."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import torch
import torch._dynamo  # it looks at what is replaced here, so it comes first
import torch.mps
import torch.overrides
from torch import Tensor
from torch.fx.experimental import proxy_tensor
from torch.optim import optimizer
from torch.utils._python_dispatch import TorchDispatchMode, _disable_infra_mode
from torch.utils._pytree import tree_map

from ganbench.conformance.device_use import Seen, made_at, where
from ganbench.conformance.pretended_device import rules
from ganbench.conformance.pretended_device.machine import (
    Generator,
    Machine,
    OnDevice,
    _active,
    machine,
    run,
)

MEMORY = 80 << 30  # bytes of a device
_PROPERTIES = {
    "name": "Pretended GPU", "major": 9, "minor": 0, "total_memory": MEMORY, "multi_processor_count": 132,
}  # fmt: skip


class PretendedMode(TorchDispatchMode):
    """Every operation of the block, also one that makes a tensor from nothing."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        proxy = proxy_tensor.get_proxy_mode()
        if proxy is None:
            return run(func, args, kwargs or {})
        # A tracer comes after all other modes: it would see the tensors on the CPU, and take them for constants.
        with contextlib.contextmanager(_disable_infra_mode)(torch._C._TorchDispatchModeKey.PROXY), self:
            return proxy.__torch_dispatch__(func, types, args, kwargs or {})


class Stream:
    """A stream: everything is done when it is asked for, so waiting for it is only counted."""

    def __init__(self, device: Any = None, **_: Any) -> None:
        self.device = machine().device(device if device is not None else machine().kind)

    def synchronize(self) -> None:
        machine().wait("synchronize")

    def query(self) -> bool:
        return True

    def wait_stream(self, stream: Any) -> None: ...
    def wait_event(self, event: Any) -> None: ...
    def record_event(self, event: Any = None) -> Any:
        return event or Event()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None: ...


class Event:
    """An event of a stream, past at once."""

    def __init__(self, **_: Any) -> None: ...
    def record(self, stream: Any = None) -> None: ...
    def wait(self, stream: Any = None) -> None: ...
    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        _synchronize()

    def elapsed_time(self, other: Any) -> float:
        return 0.0


def _synchronize(device: Any = None) -> None:
    """Of a device or an event. CUDA's debug mode does not tell of these."""
    machine().wait("synchronize", told=False)


def _set_sync_debug_mode(mode: int | str) -> None:
    machine().sync_debug_mode = ("default", "warn", "error").index(mode) if isinstance(mode, str) else mode


def _device_of(self: Tensor) -> torch.device:
    """``Tensor.device``, also of what functorch wraps."""
    inner: Any = self
    while not isinstance(inner, OnDevice) and torch._C._functorch.is_functorch_wrapped_tensor(inner):
        inner = torch._C._functorch.get_unwrapped(inner)
    if isinstance(inner, OnDevice):
        return torch.device(machine().kind, inner.place)
    return torch._C.TensorBase.device.__get__(self)


def _to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """``Tensor.to`` of a tensor on the CPU: C++ would ask the driver which device is meant where none is numbered."""

    def numbered(x: Any) -> Any:
        return machine().device(x) if isinstance(x, str | torch.device) else x

    if args and isinstance(args[0], OnDevice):
        args = (args[0].device, args[0].dtype, *args[1:])
    return torch._C.TensorBase.to(self, *map(numbered, args), **{k: numbered(v) for k, v in kwargs.items()})


def _cuda(self: Tensor, device: Any = None, *_: Any, **__: Any) -> Tensor:
    return self.to("cuda" if device is None else torch.device("cuda", device) if type(device) is int else device)


_DATA: Any = torch._C.TensorBase.data


def _set_data(self: Tensor, value: Tensor) -> None:
    """``x.data = value``: numbers and device are then those of ``value``."""
    if isinstance(value, OnDevice) and isinstance(self, OnDevice):
        self.host, self.place = value.host, value.place
    elif isinstance(value, OnDevice):
        _swap(self, torch.nn.Parameter(value, requires_grad=self.requires_grad))
        return
    _DATA.__set__(self, value)


_swap_tensors = torch.utils.swap_tensors


def _swap(one: Tensor, other: Tensor) -> None:
    """Exchange two tensors as torch does where a module is moved, but for the first one's hooks, which stay its own."""
    hooks = one._backward_hooks
    _swap_tensors(one, other)
    if hooks:
        one._backward_hooks = hooks


def _init(init: Callable[..., None]) -> Callable[..., None]:
    """``nn.Module.__init__``, which notes where a layer is made, for a plugin that only builds what torch runs."""

    def initialised(self: torch.nn.Module, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        made_at[self] = where()

    return initialised


def _made_there(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``torch.tensor`` and the like: made on the CPU, and copied."""

    def made(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        if device is None or torch.device(device).type != machine().kind:
            return make(data, *args, device=device, **kwargs)
        needs = kwargs.pop("requires_grad", False)
        there = data if isinstance(data, OnDevice) else make(data, *args, **kwargs).to(device)
        return there.requires_grad_(needs) if needs else there

    return made


def _load(load: Callable[..., Any]) -> Callable[..., Any]:
    """``torch.load``, of a file that was saved from the device too."""

    def loaded(*args: Any, map_location: Any = None, **kwargs: Any) -> Any:
        with torch.serialization.safe_globals([OnDevice]):
            found = load(*args, **kwargs)
        if map_location is None:
            return found
        return tree_map(lambda x: x.to(map_location) if isinstance(x, Tensor) else x, found)

    return loaded


def _set_device(device: Any) -> None:
    from torch.cuda._utils import _get_device_index

    machine().current = machine().device(f"cuda:{_get_device_index(device)}").index  # torch's own check, and refusal


def _state(device: Any = None) -> Tensor:
    return machine().state(_number(device)).clone()


def _set_state(state: Tensor, device: Any = None) -> None:
    if type(state) is not Tensor:
        raise TypeError("a random state must be a ByteTensor on the CPU")
    machine().states[_number(device)] = state.clone()


def _set_states(states: Iterable[Tensor]) -> None:
    for index, state in enumerate(states):
        _set_state(state, index)


def _number(device: Any) -> int:
    if device is None or isinstance(device, int):
        return machine().current if device is None or device < 0 else device
    return machine().device(device).index


def _stand_ins(here: Machine) -> list[tuple[Any, str, Any]]:
    """What takes the place of functions of torch while the machine is pretended: (owner, name, stand-in)."""
    both: list[tuple[Any, str, Any]] = [
        (torch, "Generator", Generator),
        (torch.Tensor, "device", property(_device_of)),
        (torch.Tensor, "data", property(_DATA.__get__, _set_data)),
        (torch.Tensor, "to", _to),
        (torch.utils, "swap_tensors", _swap),
        (torch.nn.Module, "__init__", _init(torch.nn.Module.__init__)),
        (torch.Tensor, "pin_memory", lambda self, device=None: self),
        (torch.Tensor, "is_pinned", lambda self, device=None: False),
        (torch, "tensor", _made_there(torch.tensor)),
        (torch, "as_tensor", _made_there(torch.as_tensor)),
        (torch, "asarray", _made_there(torch.asarray)),
        (torch, "load", _load(torch.load)),
        (torch.optim.Optimizer, "_accelerator_graph_capture_health_check", lambda self: None),  # it asks for a stream
        (torch.autocast, "__enter__", _enter(torch.autocast.__enter__)),
        (torch.autocast, "__exit__", _exit(torch.autocast.__exit__)),
        (torch.accelerator, "synchronize", _synchronize),
        # A tracer would make constants of what it does not know.
        (proxy_tensor, "HANDLED_TYPES", (*proxy_tensor.HANDLED_TYPES, OnDevice)),
        (optimizer, "_foreach_supported_types", [*optimizer._foreach_supported_types, OnDevice]),
    ]
    if here.kind == "mps":
        return both + [
            (torch.backends.mps, "is_available", lambda: True),
            (torch.mps, "manual_seed", here.seed),
            (torch.mps, "_is_in_bad_fork", lambda: False),
            (torch.mps, "get_rng_state", _state),
            (torch.mps, "set_rng_state", _set_state),
            (torch.mps, "synchronize", _synchronize),
            (torch.mps, "driver_allocated_memory", lambda: 0),
        ]
    cuda = torch.cuda
    return both + [
        (torch.Tensor, "cuda", _cuda),
        (cuda, "is_available", lambda: True),
        (cuda, "device_count", lambda: here.count),
        (cuda, "is_initialized", lambda: True),
        (cuda, "_lazy_init", lambda: None),
        (cuda, "_is_in_bad_fork", lambda: False),
        (cuda, "current_device", lambda: here.current),
        (cuda, "set_device", _set_device),
        (cuda, "get_device_name", lambda device=None: "Pretended GPU"),
        (cuda, "get_device_capability", lambda device=None: (9, 0)),
        (cuda, "is_bf16_supported", lambda *_, **__: True),
        (cuda, "synchronize", _synchronize),
        (cuda, "get_sync_debug_mode", lambda: here.sync_debug_mode),
        (cuda, "set_sync_debug_mode", _set_sync_debug_mode),
        (cuda, "current_stream", Stream),
        (cuda, "default_stream", Stream),
        (cuda, "Stream", Stream),
        (cuda, "stream", lambda stream: stream or contextlib.nullcontext()),
        (cuda, "Event", Event),
        (cuda, "device", CurrentDevice),
        (cuda, "get_device_properties", lambda device=None: SimpleNamespace(**_PROPERTIES)),
        (cuda, "mem_get_info", lambda device=None: (MEMORY, MEMORY)),
        (cuda, "empty_cache", lambda: None),
        (cuda, "set_per_process_memory_fraction", lambda fraction, device=None: None),
        (cuda, "memory_allocated", lambda device=None: 0),
        (cuda, "max_memory_allocated", lambda device=None: 0),
        (cuda, "reset_peak_memory_stats", lambda device=None: None),
        (cuda, "manual_seed", here.seed),
        (cuda, "manual_seed_all", here.seed),
        (cuda, "get_rng_state", _state),
        (cuda, "set_rng_state", _set_state),
        (cuda, "get_rng_state_all", lambda: [_state(index) for index in range(here.count)]),
        (cuda, "set_rng_state_all", _set_states),
    ]


def _imported_by_name(stand_ins: list[tuple[Any, str, Any]]) -> Iterator[tuple[ModuleType, str, Any, Any]]:
    """Where modules outside torch have imported what is replaced, or what replaces it, by name: ``from torch import
    Generator``. Yields the module, the name, torch's own and the stand-in.
    """
    pairs = [(getattr(owner, name), value) for owner, name, value in stand_ins if isinstance(owner, ModuleType)]
    known = {id(one): pair for pair in pairs if callable(pair[0]) for one in pair}
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType) and not f"{module.__name__}.".startswith(("torch.", f"{__package__}.")):
            for name, value in list(vars(module).items()):
                if id(value) in known:
                    yield module, name, *known[id(value)]


def _give_back(stand_ins: list[tuple[Any, str, Any]]) -> None:
    """Take the stand-ins out of modules, also of those that were first imported within the block."""
    for module, name, own, _ in _imported_by_name(stand_ins):
        setattr(module, name, own)


class Autocast(torch.overrides.TorchFunctionMode):
    """The casts of CUDA's autocast, which C++ makes for its own devices alone: for what is called from Python."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        wanted = self.dtype if name in rules.LOWERED else torch.float32 if name in rules.RAISED else None
        if wanted is None or not torch.is_autocast_enabled(machine().kind):
            return func(*args, **kwargs)

        def cast(x: Any) -> Any:
            if not isinstance(x, Tensor) or x.dtype not in (torch.float32, torch.bfloat16, torch.float16):
                return x
            return x.to(wanted) if x.device.type == machine().kind else x  # also what functorch wraps

        return func(*tree_map(cast, args), **tree_map(cast, kwargs))


def _enter(enter: Callable[..., Any]) -> Callable[..., Any]:
    def entered(self: torch.autocast) -> Any:
        if self.device == machine().kind and self._enabled:
            self._casts = Autocast(self.fast_dtype)  # type: ignore[attr-defined]
            self._casts.__enter__()  # type: ignore[attr-defined]
        return enter(self)

    return entered


def _exit(leave: Callable[..., Any]) -> Callable[..., Any]:
    def left(self: torch.autocast, *reason: Any) -> Any:
        if (casts := vars(self).pop("_casts", None)) is not None:
            casts.__exit__(*reason)
        return leave(self, *reason)

    return left


class CurrentDevice:
    """``torch.cuda.device``: a block in which another device is the current one."""

    def __init__(self, device: Any) -> None:
        self.index = _number(device)

    def __enter__(self) -> None:
        self._before, machine().current = machine().current, self.index

    def __exit__(self, *_: object) -> None:
        machine().current = self._before


@contextlib.contextmanager
def pretended(kind: str = "cuda", count: int = 2) -> Iterator[Seen]:
    """A block in which there are such devices.

    Args:
        kind: ``cuda`` or ``mps``.
        count: how many; there is one of ``mps``.

    Yields what is asked of them, counted.
    """
    here = Machine(kind, count if kind == "cuda" else 1)
    swapped = torch.__future__.get_swap_module_params_on_conversion()
    _active.append(here)
    try:
        with contextlib.ExitStack() as stack:
            stand_ins = _stand_ins(here)
            for module, name, _, value in _imported_by_name(stand_ins):
                setattr(module, name, value)
            stack.callback(_give_back, stand_ins)  # called last, when torch has its own again
            for owner, name, value in stand_ins:
                stack.enter_context(mock.patch.object(owner, name, value))
            # Parameters keep their identity when a module is moved, as they do where memory can be exchanged.
            torch.__future__.set_swap_module_params_on_conversion(True)
            with PretendedMode():
                yield here.seen
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swapped)
        _active.remove(here)
