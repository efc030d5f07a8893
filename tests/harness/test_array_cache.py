"""Features of real images are computed once for all trials of a sweep, and are those that a trial would compute."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ganbench.discovery.loader import discover
from ganbench.harness import array_cache, environment
from ganbench.harness.array_cache import Cache, RealCache, real_cache
from ganbench.harness.describe import describe_reference
from ganbench.harness.real_data import RealData
from ganbench.metrics import features_of, score_all
from ganbench.plugin.interfaces import Dataset, Extractor, Side

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
IMAGES = {
    split: RNG.integers(0, 256, size=(n, 1, 4, 4), dtype=np.uint8) for split, n in (("train", 300), ("test", 200))
}
PICTURES = Dataset(
    "pictures", (1, 4, 4), 960, "fid", 2, lambda split: (IMAGES[split], np.arange(len(IMAGES[split])) % 2)
)


class Wide(Extractor):
    """150 features, so that covariances are kept, and two probabilities; ``calls`` counts the images."""

    calls = 0

    def __call__(self, batch):
        Wide.calls += len(batch)
        flat = batch.flatten(1).float() / 255.0
        mixing = torch.randn(16, 150, generator=torch.Generator().manual_seed(0))
        return torch.relu(flat @ mixing), torch.softmax(flat[:, :2], dim=1)


WIDE = Wide("wide", 150, "0" * 64)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(array_cache, "cache_folder", tmp_path.joinpath)
    return tmp_path / "real"


@pytest.fixture
def real(folder: Path) -> Callable[..., RealData]:
    def make(dataset: Dataset = PICTURES, extractor: Extractor = WIDE, samples: int = 190) -> RealData:
        return RealData(dataset, extractor, samples, CPU, RealCache(extractor, "ganbench", CPU))

    return make


def same(one: Side, other: Side) -> bool:
    parts = [(getattr(one, name), getattr(other, name)) for name in ("samples", "features", "probabilities", "labels")]
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in parts) and one.device == other.device


def scores(real: RealData) -> dict[str, float]:
    return score_all(features_of(real.held_out), features_of(real.train_draw), subsets=5, subset_size=50)


def test_a_second_trial_reads_what_the_first_computed(real, folder: Path) -> None:
    plain = RealData(PICTURES, WIDE, 190, CPU)
    first = real()
    expected = scores(first)
    first.keep()
    assert expected == scores(plain) and len(list(folder.iterdir())) == 2
    before, files = Wide.calls, {path: path.stat().st_ino for path in folder.iterdir()}
    second = real()
    assert same(second.held_out, plain.held_out) and same(second.train_draw, plain.train_draw)
    known = features_of(second.held_out).export_arrays()
    assert known.keys() >= {"mean", "covariance", "radii.3", "radii.5"}
    assert scores(second) == expected and Wide.calls == before
    second.keep()
    assert {path: path.stat().st_ino for path in folder.iterdir()} == files  # nothing was new
    assert same(second.train, plain.train) and Wide.calls > before  # another side
    second.keep()
    assert len(list(folder.iterdir())) == 3


def test_what_is_found_later_is_added(real) -> None:
    first = real()
    assert len(first.held_out.features) == 190
    first.keep()
    second = real()
    scores(second)
    second.keep()
    assert "covariance" in features_of(real().held_out).export_arrays()


@pytest.mark.parametrize("harm", ["flipped", "cut", "empty", "another's", "no file", "gone"])
def test_a_file_that_is_not_what_was_written_is_computed_again(harm: str, real, folder: Path) -> None:
    first = real()
    expected = first.held_out.features
    first.keep()
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    if harm == "flipped":
        content[-1] ^= 1
        path.write_bytes(content)
    elif harm in ("cut", "empty"):
        path.write_bytes(content[: len(content) // 2 if harm == "cut" else 0])
    else:
        path.unlink()
    if harm == "another's":
        Cache(folder).put("1" * 64, {"features": torch.zeros(190, 150)})
        (folder / ("1" * 64)).rename(path)
    elif harm == "no file":
        path.mkdir()
    before = Wide.calls
    second = real()
    assert np.array_equal(second.held_out.features, expected) and Wide.calls == before + 190
    second.keep()
    assert harm == "no file" or len(features_of(real().held_out)) == 190
    assert not [one for one in folder.iterdir() if one.name.startswith(".")]


def test_what_decides_a_bit_is_in_the_key(real, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def computed(**about) -> int:
        before, found = Wide.calls, real(**about)
        assert len(found.held_out.features)
        found.keep()
        return Wide.calls - before

    changed = {split: images ^ 1 for split, images in IMAGES.items()}
    about = [
        {},
        {"samples": 100},
        {"dataset": replace(PICTURES, load=lambda split: (changed[split], None))},
        {"extractor": Wide("wide", 150, "1" * 64)},
    ]
    assert [computed(**one) for one in about] == [190, 100, 190, 190]
    assert [computed(**one) for one in about] == [0, 0, 0, 0]
    for name, value in (("processor", "another"), ("_version", "9.9")):
        with monkeypatch.context() as patch:
            patch.setattr(environment, name, lambda *_, value=value: value)
            assert computed() == 190 and computed() == 0
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        assert computed() == 190
    finally:
        torch.set_num_threads(threads)
    assert computed() == 0
    with monkeypatch.context() as patch:
        patch.setattr(array_cache, "source_hash", lambda *_: "changed")
        assert computed() == 190


def test_a_disk_that_takes_nothing_costs_nothing_but_the_cache(real, folder: Path) -> None:
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file where the folder belongs")
    first = real()
    assert len(first.held_out.features) == 190
    first.keep()
    assert folder.read_text() == "a file where the folder belongs"


def test_the_least_used_files_go_when_there_are_too_many(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", most=5_000)
    one = {"features": torch.zeros(300)}
    for i in range(4):
        cache.put(str(i), one)
        if (path := tmp_path / "cache" / str(i)).exists():
            os.utime(path, (i, i))
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"1", "2", "3"}
    assert cache.get("1") is not None  # used last from here on
    cache.put("4", one)
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"1", "3", "4"}
    cache.put("5", {"features": torch.zeros(5_000)})  # larger than all that is kept
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"1", "3", "4"}


def test_only_own_extractors_of_images_are_kept(real, folder: Path) -> None:
    own = discover([("extractor", "digits-cnn")]).get("extractor", "digits-cnn")
    assert own.distribution == "ganbench" and isinstance(real_cache(own.thing, own.distribution, CPU), RealCache)
    assert real_cache(WIDE, "ganbench-wide", CPU) is None and real_cache(own.thing, "ganbench-wide", CPU) is None
    points = np.float32(RNG.normal(size=(50, 2)))
    cloud = real(Dataset("cloud", (2,), None, "fid", 960, lambda split: (points, None)), samples=20)
    cloud.keep()
    assert cloud.cache is None and not folder.exists()


def test_planning_a_sweep_fills_the_cache_that_its_trials_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"dataset": "digits", "extractor": "digits-cnn", "metrics": ["fid", "coverage"], "samples": 300}
    planned = describe_reference({**about, "device": "cpu"})
    assert planned["reference"]["real"] == 300
    catalog = discover([("dataset", "digits"), ("extractor", "digits-cnn")])
    extractor = catalog.get("extractor", "digits-cnn")
    cache = real_cache(extractor.thing, extractor.distribution, CPU)
    real = RealData(catalog.get("dataset", "digits").thing, extractor.thing, 300, CPU, cache)
    plain = RealData(catalog.get("dataset", "digits").thing, extractor.thing, 300, CPU)
    expected = plain.held_out

    def never(*_: object) -> None:
        raise AssertionError("features were computed")

    monkeypatch.setattr(type(extractor.thing), "__call__", never)
    assert same(real.held_out, expected)
    assert features_of(real.held_out).export_arrays().keys() >= {"radii.5"}
