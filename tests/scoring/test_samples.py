"""Samples are read a chunk at a time: the same pixels, hash and scores, in memory that does not grow with them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganbench.scoring import Options, samples, score
from ganbench.scoring.samples import Request, load
from ganbench.utils.errors import UsageError

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (130, 12, 10, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "MOST_CHUNK", 1)  # 50 samples, the least


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One picture in colour, the last, and all the others grey."""
    for i, picture in enumerate(PICTURES):
        image = Image.fromarray(picture if i == 129 else picture[..., 0])
        (tmp_path / "pictures").mkdir(exist_ok=True)
        image.save(tmp_path / "pictures" / f"{i:03}.png")
    return tmp_path / "pictures"


def whole() -> np.ndarray:
    grey = PICTURES[..., :1].repeat(3, 3)
    grey[129] = PICTURES[129]
    return grey.transpose(0, 3, 1, 2)


def sha256(pixels: np.ndarray) -> str:
    about = f"{torch.from_numpy(pixels[:1]).dtype} {tuple(pixels.shape)}"
    return hashlib.sha256(about.encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def test_one_picture_in_colour_makes_all_of_them_so_whichever_chunk_it_is_in(folder: Path) -> None:
    found = load(f"{folder}", Request())
    assert [len(chunk) for chunk in found] == [50, 50, 30]
    assert found.shape == (130, 3, 12, 10) and np.array_equal(found.data.numpy(), whole())
    assert found.hash == sha256(whole()) == load(f"{folder}", Request()).hash  # asked before or after it was read
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    assert load(f"{folder}.zip", Request()).hash == found.hash


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("kind", ["uint8", "float32"])
@pytest.mark.parametrize("channels", ["first", "last", "none"])
def test_arrays_are_converted_chunk_by_chunk(suffix: str, kind: str, channels: str, tmp_path: Path) -> None:
    array = {"first": PICTURES.transpose(0, 3, 1, 2), "last": PICTURES, "none": PICTURES[..., 0]}[channels]
    expected = PICTURES.transpose(0, 3, 1, 2) if channels != "none" else PICTURES[:, None, :, :, 0]
    given = array if kind == "uint8" else (array / np.float32(255)).astype("float32")
    path = tmp_path / f"x{suffix}"
    np.save(path, given) if suffix == ".npy" else np.savez_compressed(path, x=given)
    found = load(str(path), Request(n=120))
    rows = Request(n=120).rows(130, "x")
    assert np.array_equal(found.data.numpy(), expected[rows]) and found.hash == sha256(expected[rows])
    assert all(chunk.is_contiguous() for chunk in found)


def test_a_value_that_is_not_finite_is_named_by_its_sample_in_any_chunk(tmp_path: Path) -> None:
    array = np.zeros((130, 1, 4, 4), dtype="float32")
    array[101, 0, 2, 1] = np.nan
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(UsageError, match="the first in sample 101"):
        load(str(tmp_path / "x.npy"), Request())
    taken = Request(n=80, seed=1).rows(130, "x")
    array[:] = 0
    array[taken[70]] = np.nan
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(UsageError, match=f"the first in sample {taken[70]}$"):
        load(str(tmp_path / "x.npy"), Request(n=80, seed=1))
    array[:] = 0
    array[101] = 1.5
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(UsageError, match=r"these in \[0, 1.5\]"):
        load(str(tmp_path / "x.npy"), Request())


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.array([[0.0, 0.0], [1e300, 0.0]]), "as float32 a value is not finite, the first in sample 1"),
        (np.zeros((5, 3, 0, 0), dtype=np.uint8), "got shape"),
        (np.zeros((5, 0, 4), dtype=np.float32), "got shape"),
    ],
)
def test_arrays_without_a_value_or_with_too_large_ones_are_refused(array, told, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(UsageError, match=told):
        load(str(tmp_path / "x.npy"), Request())


def test_a_picture_that_breaks_off_is_told_with_all_others_that_do(folder: Path) -> None:
    for name in ("007.png", "120.png"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UsageError, match=r"2 files cannot be read: 007.png \(.*\); 120.png \("):
        list(load(str(folder), Request()))


METRICS = """
from ganbench.plugin import Metric, hookimpl

class Reads(Metric):
    def __call__(self, evidence):
        return float(evidence.fake.samples.astype(float).mean() + evidence.real.samples.astype(float).mean())

@hookimpl
def ganbench_metrics():
    return [Reads("reads", "Reads", "none", needs={"samples"}), Reads("asks", "Asks", "none")]
"""


@pytest.mark.parametrize(("metrics", "passes"), [(("fid",), 1), (("fid", "reads"), 1), (("fid", "asks"), 2)])
def test_pixels_are_kept_only_for_a_metric_that_declared_it_reads_them(
    metrics: tuple[str, ...], passes: int, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pixel_metrics.py").write_text(METRICS)
    monkeypatch.setenv("GANBENCH_PLUGIN_PATH", str(tmp_path / "pixel_metrics.py"))
    decoded: list[int] = []
    original = samples.read_image
    monkeypatch.setattr(samples, "read_image", lambda *args: (decoded.append(1), original(*args))[1])
    found = score(str(folder), str(folder), Options(extractor="pixels", metrics=metrics, request=Request(n=60)))
    fid, *others = (one.value for one in found.scores)
    assert len(decoded) == 2 * (passes * 60 + 1) and fid == pytest.approx(0, abs=1e-6)
    rows = Request(n=60).rows(130, "x")
    assert others == [pytest.approx(2 * whole()[rows].mean())] * len(others)


PEAK = """
import resource, subprocess, sys
subprocess.run([sys.executable, *sys.argv[1:]], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are in kilobytes on Linux")
def test_the_peak_does_not_grow_with_the_pictures(tmp_path: Path) -> None:
    """600 more pictures of 256x256 a side are 236 MB of pixels."""
    originals = tmp_path / "originals"
    originals.mkdir()
    for i in range(20):
        colours = RNG.integers(0, 255, (4, 4, 3)).astype(np.uint8).repeat(64, 0).repeat(64, 1)
        Image.fromarray(colours).save(originals / f"{i}.png", compress_level=1)
    peaks = []
    for n in (100, 700):
        folder = tmp_path / str(n)
        folder.mkdir()
        for i in range(n):
            os.link(originals / f"{i % 20}.png", folder / f"{i:04}.png")
        words = ["score", "--real", str(folder), "--fake", str(folder), "--extractor", "pixels", "--metrics", "fid"]
        measured = subprocess.run(
            [sys.executable, "-c", PEAK, "-m", "ganbench", *words], capture_output=True, text=True, check=True
        )
        peaks.append(float(measured.stdout))
    assert peaks[1] < peaks[0] + 60
