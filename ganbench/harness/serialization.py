"""Nested Python values as JSON plus tensors, and both in one safetensors file: nothing is ever executed on reading."""

from __future__ import annotations

import math
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


def encode(value: Any, tensors: dict[str, Tensor], where: str) -> Any:
    """JSON for ``value``; its tensors go, copied to the CPU, into ``tensors`` under names that begin with ``where``.

    Raises TypeError, naming the place, for a value that is no tensor, scalar, list, tuple or dict, and for a tensor
    that safetensors cannot hold: a sparse or quantized one, or one of a type that it lacks.
    """
    if isinstance(value, Tensor):
        name, count = where, 1
        while name in tensors:  # keys "a.b" and "a" with "b" below it, or 1 and "1", give one name
            count += 1
            name = f"{where}~{count}"
        tensors[name] = _on_cpu(value, where)
        # What was on the CPU stays there: random states, and values that an optimizer keeps on the host.
        return {"tensor" if value.device.type == "cpu" else "device tensor": name}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if is_scalar(value):
        return value
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):  # a named tuple would lose its names
        items = [encode(item, tensors, f"{where}.{i}") for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, dict):
        if not all(is_scalar(key) for key in value):
            raise TypeError(f"{where} has a key that is no scalar")
        return {
            "dict": [[encode(key, {}, where), encode(item, tensors, f"{where}.{key}")] for key, item in value.items()]
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


def _on_cpu(value: Tensor, where: str) -> Tensor:
    """A copy of a tensor on the CPU, in row-major order; raises TypeError for one that cannot be saved."""
    if value.layout is not torch.strided or value.is_quantized or value.device.type == "meta":
        kind = "without values" if value.device.type == "meta" else "that is sparse or quantized"
        raise TypeError(f"{where} holds a tensor {kind}: only plain, dense tensors can be saved")
    if str(value.dtype) not in {f"torch.{name}" for name in TYPES.values()}:
        raise TypeError(f"{where} holds a tensor of {value.dtype}, which a checkpoint cannot hold")
    return value.detach().cpu().resolve_conj().resolve_neg().contiguous().clone()


def fingerprint(value: Any) -> str:
    """Hex SHA-256 of a nested value, every bit of its tensors included."""
    tensors: dict[str, Tensor] = {}
    return _digest(encode(value, tensors, "state"), tensors)


def save(path: Path, value: Any) -> str:
    """Write a nested value as one safetensors file, whole or not at all; return its fingerprint.

    The same value always gives the same bytes.
    """
    tensors: dict[str, Tensor] = {}
    content = encode(value, tensors, "state")
    digest = _digest(content, tensors)
    # One metadata key: with two, their order in the file would be arbitrary.
    header = canonical_json.dumps({"content": content, "sha256": digest})
    write_atomic(path, safetensors.torch.save(tensors, metadata={"ganbench": header}))
    return digest


def load(path: Path, device: torch.device | str = "cpu") -> Any:
    """Read what ``save`` wrote; raises Unreadable if a single bit of it differs."""
    try:
        tensors: dict[str, Tensor] = {}
        with safetensors.safe_open(path, framework="pt") as file:
            header = canonical_json.loads(file.metadata()["ganbench"].encode())
            for name in file.keys():  # noqa: SIM118 - not a dict
                tensors[name] = file.get_tensor(name)
        if _digest(header["content"], tensors) != header["sha256"]:
            raise Unreadable(f"{path} is damaged: its content does not match its hash")
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
