from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ganbench.plugin.interfaces import Dataset, Evidence, Side


def _load(split: str) -> Any:
    raise AssertionError(f"a metric must not load the dataset's {split} split")


@pytest.fixture
def make_evidence() -> Callable[..., Evidence]:
    """Evidence of three sets of features; whatever else is given is put on top."""

    def make(
        fake: Any, real: Any, train: Any, *, probabilities: Any = (None, None), dataset: Any = None, **more: Any
    ) -> Evidence:
        described = {"name": "blobs", "shape": (2,), "budget_images": 1, "load": _load, **(dataset or {})}
        return Evidence(
            fake=Side(np.float32(fake), np.asarray(fake), probabilities[0]),
            real=Side(np.float32(real), np.asarray(real), probabilities[1]),
            train=lambda: Side(np.float32(train), np.asarray(train)),
            dataset=Dataset(**described),
            **more,
        )

    return make
