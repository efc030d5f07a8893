"""The fingerprint of a stored state: how it is computed, and how it is read from a file without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import safetensors

from ganbench.utils import canonical_json

# What torch calls the types of a safetensors file.
TYPES = {
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


def stored_digest(data: bytes) -> str:
    """The fingerprint of the value whose file, written by ``harness.serialization.save``, has these bytes.

    Raises:
        ValueError: it is no such file.
    """
    try:
        tensors = safetensors.deserialize(data)  # which checks the header: its length, then JSON
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        content = canonical_json.loads(header["__metadata__"]["ganbench"].encode())["content"]
        described = [
            (name, f"torch.{TYPES[about['dtype']]}", tuple(about["shape"]), about["data"])
            for name, about in sorted(tensors, key=lambda item: item[0])
        ]
        return digest(content, described)
    except (AttributeError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as reason:
        raise ValueError(f"it cannot be read: {reason}") from None
