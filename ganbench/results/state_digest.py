"""The fingerprint of a stored state: how it is computed, and how it is read from a file without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import safetensors

from ganbench.utils import canonical_json

# What torch calls the types of a safetensors file.
_TYPES = {
    "BOOL": "bool",
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "C64": "complex64",
}


def digest(content: Any, tensors: Iterable[tuple[str, str, tuple[int, ...], Any]]) -> str:
    """Hex SHA-256 of a nested value: the JSON of its structure, then name, type, shape and bytes of each tensor.

    Args:
        content: JSON-able.
        tensors: sorted by name; bytes are little-endian, in row-major order.
    """
    found = hashlib.sha256(canonical_json.dumps(content).encode())
    for name, kind, shape, data in tensors:
        found.update(f"\0{name}\0{kind}\0{shape}\0".encode())
        found.update(data)
    return found.hexdigest()


def stored_digest(path: Path) -> str:
    """The fingerprint of the value that ``harness.serialization.save`` wrote into ``path``.

    Raises:
        ValueError: it is no such file.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            content = canonical_json.loads(file.metadata()["ganbench"].encode())["content"]
        tensors = safetensors.deserialize(path.read_bytes())
        described = [
            (name, f"torch.{_TYPES[about['dtype']]}", tuple(about["shape"]), about["data"])
            for name, about in sorted(tensors, key=lambda item: item[0])
        ]
        return digest(content, described)
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as reason:
        raise ValueError(f"it cannot be read: {reason}") from None
