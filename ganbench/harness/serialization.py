"""Nested Python values as JSON plus tensors, and both in one safetensors file: nothing is ever executed on reading."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from ganbench.results.state_digest import TYPES, digest
from ganbench.utils import canonical_json
from ganbench.utils.errors import in_words
from ganbench.utils.files import write_atomic

_SCALARS = (bool, int, float, str, type(None))


class Unreadable(ValueError):
    """A file that is not what ``save`` wrote."""


def is_scalar(value: object) -> bool:
    """Whether a value is exactly a bool, int, float, str or None."""
    return type(value) in _SCALARS


def encode(value: Any, tensors: dict[str, Tensor], where: str, of: Callable[[Tensor], Tensor] | None = None) -> Any:
    """JSON for ``value``; its tensors go into ``tensors`` under names that begin with ``where``.

    Args:
        of: what goes there of each tensor; by default a copy on the CPU, in row-major order.

    Raises TypeError, naming the place, for a value that is no tensor, scalar, list, tuple or dict, and for a tensor
    that safetensors cannot hold: a sparse or quantized one, or one of a type that it lacks.
    """
    if isinstance(value, Tensor):
        name, count = where, 1
        while name in tensors:  # keys "a.b" and "a" with "b" below it, or 1 and "1", give one name
            count += 1
            name = f"{where}~{count}"
        _check_dense(value, where)
        tensors[name] = (of or _on_cpu)(value)
        # What was on the CPU stays there: random states, and values that an optimizer keeps on the host.
        return {"tensor" if value.device.type == "cpu" else "device tensor": name}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if is_scalar(value):
        return value
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):  # a named tuple would lose its names
        items = [encode(item, tensors, f"{where}.{i}", of) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, dict):
        if not all(is_scalar(key) for key in value):
            raise TypeError(f"{where} has a key that is no scalar")
        return {
            "dict": [
                [encode(key, {}, where), encode(item, tensors, f"{where}.{key}", of)] for key, item in value.items()
            ]
        }
    raise TypeError(
        f"{where} holds a {type(value).__name__}: only tensors, scalars, lists, tuples and dicts can be saved"
    )


def decode(value: Any, tensors: dict[str, Tensor], device: torch.device | str = "cpu") -> Any:
    """The inverse of ``encode``; tensors that were not on the CPU go to ``device``."""
    if isinstance(value, list):
        return [decode(item, tensors, device) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "device tensor":
        return tensors[content].to(device)
    if kind == "float":
        return float(content)
    if kind == "tuple":
        return tuple(decode(item, tensors, device) for item in content)
    return {decode(key, tensors): decode(item, tensors, device) for key, item in content}


def _check_dense(value: Tensor, where: str) -> None:
    """Raise TypeError for a tensor that cannot be saved."""
    if value.layout is not torch.strided or value.is_quantized or value.device.type == "meta":
        kind = "without values" if value.device.type == "meta" else "that is sparse or quantized"
        raise TypeError(f"{where} holds a tensor {kind}: only plain, dense tensors can be saved")
    if str(value.dtype) not in {f"torch.{name}" for name in TYPES.values()}:
        raise TypeError(f"{where} holds a tensor of {value.dtype}, which a checkpoint cannot hold")


def _on_cpu(value: Tensor) -> Tensor:
    found = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
    return found.clone() if value.device.type == "cpu" else found


def _bits(value: Tensor) -> Tensor:
    """A tensor's values as integers of as many bytes: NaN equals itself, and -0 is not 0."""
    integer = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[value.element_size()]
    return value.detach().resolve_conj().resolve_neg().view(integer)


class Snapshot:
    """A nested value as it is now: what is written into its tensors later does not reach it. They are on the CPU."""

    def __init__(self, value: Any) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.content = encode(value, self.tensors, "state")

    def fingerprint(self) -> str:
        """Hex SHA-256, every bit of the tensors included."""
        return _digest(self.content, self.tensors)

    def save(self, path: Path) -> str:
        """Write it as one safetensors file, whole or not at all; return its fingerprint.

        The same value always gives the same bytes.
        """
        digest = self.fingerprint()
        # One metadata key: with two, their order in the file would be arbitrary.
        header = canonical_json.dumps({"content": self.content, "sha256": digest})
        write_atomic(path, safetensors.torch.save(self.tensors, metadata={"ganbench": header}))
        return digest


class Copy:
    """A copy of a nested value, each tensor on its own device: tells whether the value is still the same."""

    def __init__(self, value: Any) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.content = encode(value, self.tensors, "state", lambda tensor: tensor.detach().clone())

    def equals(self, value: Any) -> bool:
        """Whether a value has the same bits, as their fingerprints would tell; none is computed."""
        tensors: dict[str, Tensor] = {}
        content = encode(value, tensors, "state", Tensor.detach)
        return canonical_json.dumps(content) == canonical_json.dumps(self.content) and all(
            kept.dtype == tensors[name].dtype
            and kept.shape == tensors[name].shape
            and torch.equal(_bits(kept), _bits(tensors[name].to(kept.device)))
            for name, kept in self.tensors.items()
        )

    def value(self, device: torch.device | str) -> Any:
        """The value as it was; tensors that were not on the CPU on ``device``."""
        return decode(self.content, self.tensors, device)


def fingerprint(value: Any) -> str:
    """Hex SHA-256 of a nested value, every bit of its tensors included."""
    return Snapshot(value).fingerprint()


def fingerprint_anywhere(value: Any) -> str:
    """The fingerprint as if all tensors were on the CPU: the same for a state read on another type of device."""
    taken = Snapshot(value)
    return fingerprint(decode(taken.content, taken.tensors))


def save(path: Path, value: Any) -> str:
    """Write a nested value as ``Snapshot.save`` does; return its fingerprint."""
    return Snapshot(value).save(path)


def load(path: Path, device: torch.device | str = "cpu", expected: str | None = None) -> Any:
    """Read what ``save`` wrote; raises Unreadable if a single bit of it differs.

    ``expected``: the fingerprint that ``save`` returned, where that is known: a sound file with another is refused too.
    """
    try:
        tensors: dict[str, Tensor] = {}
        with safetensors.safe_open(path, framework="pt") as file:
            header = canonical_json.loads(file.metadata()["ganbench"].encode())
            for name in file.keys():  # noqa: SIM118 - not a dict
                tensors[name] = file.get_tensor(name)
        if _digest(header["content"], tensors) != header["sha256"]:
            raise Unreadable(f"{path} is damaged: its content does not match its hash")
        if expected not in (None, header["sha256"]):
            raise Unreadable("it is not the state that the record names")
        return decode(header["content"], tensors, device)
    except Unreadable:
        raise
    except Exception as reason:  # what stands there may be anything, and both readers raise many kinds
        raise Unreadable(f"{path} cannot be read: {in_words(reason)}") from reason


def _digest(content: Any, tensors: dict[str, Tensor]) -> str:
    return digest(
        content,
        (
            (name, str(tensor.dtype), tuple(tensor.shape), tensor.reshape(-1).view(torch.uint8).numpy().data)
            for name, tensor in sorted(tensors.items())
        ),
    )
