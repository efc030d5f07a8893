"""Results with everything that pages show."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from ganbench.harness.artifacts import image_grid
from ganbench.reporters.pictures import TRAINING_PICTURES
from ganbench.reporters.report import write_reports


@pytest.fixture(scope="package")
def results(fifteen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifteen trials with their pages, and the pictures that a trial leaves and the repository does not keep."""
    folder = shutil.copytree(fifteen, tmp_path_factory.mktemp("results"), dirs_exist_ok=True)
    rng = np.random.default_rng(0)
    names = [f"samples/{images}" for images in range(0, 64_001, 16_000)] + [f"pictures/{n}" for n in TRAINING_PICTURES]
    for record in folder.glob("*/*/*/record.json"):
        for name in names:
            path = record.parent / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(image_grid(rng.integers(0, 256, (64, 1, 8, 8), dtype=np.uint8)))
    write_reports(folder, ["html"])
    return folder
