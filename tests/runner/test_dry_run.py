"""``ganbench run --dry-run``: every network is built, and nothing is downloaded, prepared, trained or written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BROKEN = """
from ganbench.plugin import GAN, hookimpl

class Broken(GAN):
    "Cannot be built."
    name = "broken"

    def build_generator(self):
        return 1 / (len(self.shape) - 3)

@hookimpl
def ganbench_variants():
    return [Broken]
"""


def dry_run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    for name in ("home", "cache"):
        (folder / name).mkdir(exist_ok=True)
    environment = {
        **{key: value for key, value in os.environ.items() if key != "GANBENCH_DATA"},
        "HOME": str(folder / "home"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "ganbench", "run", "--dry-run", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_says_what_would_be_done_first_and_does_none_of_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 255, (60, 8, 8, 1), dtype=np.uint8), np.arange(60) % 3
    np.savez(tmp_path / "own.npz", images=images, labels=labels)
    before = files(tmp_path)
    found = dry_run(tmp_path, "-p", "vanilla", "-d", "digits,cifar10,npz:own.npz", "--seeds", "2")
    assert found.returncode == 0, found.stderr
    assert "vanilla on digits, seed 1" in found.stdout and "2 trials to run, 0 finished earlier" in found.stderr
    assert "cifar10: its trials are not listed; a run would first download its files from https://" in found.stderr
    assert "npz:own.npz: its trials are not listed; a run would first read and resize its images" in found.stderr
    assert files(tmp_path) == before


@pytest.mark.parametrize("extractor", ["inception-v3", "dinov2-vit-s-14"])
def test_weights_are_not_downloaded_and_networks_are_built_all_the_same(extractor: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(BROKEN)
    words = ("-p", "vanilla,broken", "--plugin-path", "mine.py", "--extractor", extractor, "--seeds", "1")
    found = dry_run(tmp_path, *words)
    assert f"a run would first download the weights of {extractor} from https://" in found.stderr
    assert found.returncode == 1 and "broken on digits: building it raised ZeroDivisionError" in found.stderr
    assert set(files(tmp_path)) == {"mine.py"} and not any((tmp_path / "cache").iterdir())


def test_a_network_that_cannot_be_built_is_named_with_its_dataset_and_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(BROKEN)
    line = BROKEN.splitlines().index("        return 1 / (len(self.shape) - 3)") + 1
    words = ("-p", "broken,vanilla", "--plugin-path", "mine.py", "-d", "digits,ring8,cifar10", "--seeds", "1")
    found = dry_run(tmp_path, *words)
    assert found.returncode == 1
    raised = "building it raised ZeroDivisionError: division by zero"
    assert f"broken on digits: {raised} (mine.py, line {line})" in found.stderr
    assert f"broken on cifar10: {raised}" in found.stderr  # whose files are not here


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-p", "dcgna"), "did you mean dcgan"),
        (("-p", "dcgan", "-m", "fidd"), "did you mean fid"),
        (("-p", "dcgan", "-d", "digts"), "did you mean digits"),
        (("-p", "dcgan", "--device", "gpu"), "expected auto, cpu, cuda"),
        (("-p", "dcgan", "--set", "dcgan.rl=1"), "rl"),
        (("-p", "dcgan", "--set", "dcgan.lr=abc"), "expected a finite number"),
    ],
)
def test_what_cannot_be_is_refused(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    found = dry_run(tmp_path, *words)
    assert found.returncode == 2 and told in found.stderr
