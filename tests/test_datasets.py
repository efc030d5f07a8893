from __future__ import annotations

import gzip
import hashlib
import math
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ganbench.datasets import DatasetError, digits, synthetic, vision
from ganbench.datasets.idx import read_idx

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
needs_files = pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")


def named(name):
    every = [*digits.ganbench_datasets(), *synthetic.ganbench_datasets(), *vision.ganbench_datasets()]
    return next(dataset for dataset in every if dataset.name == name)


def content(dataset, split):
    data, labels = dataset.load(split)
    return hashlib.sha256(data.tobytes() + labels.tobytes()).hexdigest()


def test_modules_are_light():
    code = (
        "import sys; from ganbench.datasets import digits, idx, synthetic, vision; "
        "print(sorted({'torch', 'torchvision', 'sklearn', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize(
    ("name", "shape", "sizes", "classes", "primary"),
    [
        ("digits", (1, 8, 8), (897, 900), 10, "fid"),
        ("ring8", (2,), (50_000, 2_500), 8, "coverage"),
        ("grid25", (2,), (50_000, 2_500), 25, "coverage"),
        pytest.param("fashion-mnist", (1, 28, 28), (60_000, 10_000), 10, "fid", marks=needs_files),
    ],
)
def test_declaration_and_content_agree(name, shape, sizes, classes, primary):
    dataset = named(name)
    assert (dataset.shape, dataset.classes, dataset.primary) == (shape, classes, primary)
    assert dataset.budget_images % 64 == 0
    for split, size in zip(("train", "test"), sizes, strict=True):
        data, labels = dataset.load(split)
        assert data.shape == (size, *shape)
        assert data.dtype == (np.float32 if shape == (2,) else np.uint8)
        assert data.flags.writeable and data.flags.c_contiguous
        assert labels.dtype == np.int64 and labels.shape == (size,)
        assert set(labels) == set(range(classes))
        if shape != (2,):
            assert (data.min(), data.max()) == (0, 255)
    with pytest.raises(KeyError):
        dataset.load("validation")


# The splits are part of every record's identity: another content would silently be another benchmark.
@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        (
            "digits",
            "ebdf09ef3a960ab3fa5c57b9e356edd54a5e2c545a8e1619d0035b56ee01745b",
            "3368ee026a3df21bbd794fe270028a628d09543d618e80f258d8b2032e6c436a",
        ),
        (
            "ring8",
            "dbc1627452fc5a464d954a64c9b09e3c3fde724ce8572110d8f8b35b67771778",
            "d94e29561259b43baaa781c4955a0ddd4d4659e4636fee159f1f6b950d96970a",
        ),
        (
            "grid25",
            "56b097a6384fc1e9214cebced07d94a725fcef643b4a5bfdc2c0b807bd93a34d",
            "1de8891ea9655f78fd4c7d8e3932149dcb497dd2666363bca980b6f897bf9878",
        ),
    ],
)
def test_content_is_pinned_and_independent_of_global_randomness(name, train, test):
    for seed in (1, 2):
        np.random.seed(seed)
        assert content(named(name), "train") == train
        assert content(named(name), "test") == test


def test_loading_points_leaves_the_global_generator_alone():
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    named("ring8").load("test")
    assert np.random.random() == expected


def test_digits_are_scikit_learns_grey_levels_spread_evenly():
    from sklearn.datasets import load_digits

    pixels, target = load_digits(return_X_y=True)
    loaded = [named("digits").load(split) for split in ("train", "test")]
    images = np.concatenate([data for data, _ in loaded]).reshape(-1, 64)
    labels = np.concatenate([labels for _, labels in loaded])
    back = np.round(images / 255 * 16)
    assert np.abs(images - back * 255 / 16).max() <= 0.5

    def rows(values, digit):
        return sorted(map(tuple, np.column_stack([values, digit]).astype(int)))

    assert rows(back, labels) == rows(pixels, target)


def test_digits_splits_are_disjoint_and_stratified():
    (train, train_labels), (test, test_labels) = (named("digits").load(split) for split in ("train", "test"))
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}
    counts = np.bincount(train_labels) + np.bincount(test_labels)
    assert np.abs(np.bincount(test_labels) - counts * 900 / 1797).max() < 1
    # Shuffled: neighbours are not sorted by class.
    assert (np.diff(train_labels) == 0).mean() < 0.2


@pytest.mark.parametrize(
    ("counts", "total", "sizes"), [([5, 3, 2], 5, [3, 1, 1]), ([1, 1, 1], 2, [1, 1, 0]), ([10, 30], 4, [1, 3])]
)
def test_largest_remainder(counts, total, sizes):
    assert digits.stratified_sizes(np.array(counts), total).tolist() == sizes


def test_split_order_follows_pixels_not_rows():
    images = np.random.default_rng(0).integers(0, 256, (50, 4), dtype=np.uint8)
    order = digits.split_order(images, "a")
    assert sorted(order) == list(range(50))
    assert (images[::-1][digits.split_order(images[::-1], "a")] == images[order]).all()
    assert (digits.split_order(images, "b") != order).any()


@pytest.mark.parametrize(("name", "std"), [("ring8", 0.01), ("grid25", 0.05)])
def test_points_have_the_declared_distribution(name, std):
    dataset = named(name)
    points, labels = dataset.load("train")
    assert dataset.std == std
    modes, n = len(dataset.centres), len(points)
    residuals = (points - dataset.centres[labels]) / std
    # Of a round Gaussian in the plane, 1 - exp(-9/2) = 98.889 % lies within three standard deviations.
    share = 1 - math.exp(-4.5)
    within = (np.linalg.norm(residuals, axis=1) <= 3).mean()
    assert abs(within - share) < 4 * math.sqrt(share * (1 - share) / n)
    assert np.abs(residuals.mean(axis=0)).max() < 4 / math.sqrt(n)
    assert np.abs(np.cov(residuals.T) - np.eye(2)).max() < 4 * math.sqrt(2 / n)
    counts = np.bincount(labels)
    chi_squared = ((counts - n / modes) ** 2 / (n / modes)).sum()
    assert abs(chi_squared - (modes - 1)) < 4 * math.sqrt(2 * (modes - 1))
    nearest = np.linalg.norm(points[:, None] - dataset.centres, axis=2).argmin(axis=1)
    assert (nearest == labels).all()


def test_centres():
    ring, grid = named("ring8").centres, named("grid25").centres
    angles = np.arange(8) * np.pi / 4
    assert np.abs(ring - np.column_stack([np.cos(angles), np.sin(angles)])).max() < 1e-15
    assert {tuple(centre) for centre in grid} == {(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)}


def test_splits_of_points_share_no_point_and_no_stream():
    train, test = (named("ring8").load(split)[0] for split in ("train", "test"))
    assert not {point.tobytes() for point in train} & {point.tobytes() for point in test}
    assert len(np.unique(train, axis=0)) == len(train)


# --- IDX files


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def small(n=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 3, 3), dtype=np.uint8), rng.integers(0, 2, n, dtype=np.uint8)


def write_set(folder, suffix=".gz"):
    """A set of two splits as the official files hold them; returns its arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for split, prefix, n in (("train", "train", 4), ("test", "t10k", 2)):
        images, labels = arrays[split] = small(n, seed=n)
        for stem, array in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", labels)):
            data = idx_bytes(array)
            (folder / (stem + suffix)).write_bytes(gzip.compress(data) if suffix else data)
    return arrays


def row(arrays=None, **changes):
    arrays = arrays or {"train": small(4, 4), "test": small(2, 2)}
    fields = {
        "name": "small",
        "shape": (1, 3, 3),
        "classes": 2,
        "budget_images": 64,
        "counts": {"train": 4, "test": 2},
        "sha256": {
            split: hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
            for split, (images, labels) in arrays.items()
        },
        "torchvision": "FashionMNIST",
        "package": "dataset-small",
    }
    return vision.IdxDataset(**{**fields, **changes})


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """Only what a test puts there is found, beside Debian's own folder, and the network is down."""

    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.delenv("GANBENCH_DATA", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    monkeypatch.setattr("urllib.request.urlopen", offline)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("below", [".", "small", "FashionMNIST/raw"])
def test_the_users_own_folder(tmp_path, monkeypatch, suffix, below):
    arrays = write_set(tmp_path / "mine" / below, suffix)
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path / "mine"))
    for split, (images, labels) in arrays.items():
        data, found = row(arrays).load(split)
        assert data.shape == (len(images), 1, 3, 3) and (data[:, 0] == images).all()
        assert (found == labels).all()


def test_the_order_of_sources(tmp_path, monkeypatch):
    monkeypatch.setattr(vision, "SYSTEM", tmp_path / "system")
    dataset = row()
    folders = {
        "own": tmp_path / "mine" / "small",
        "system": tmp_path / "system" / "small",
        "cache": tmp_path / "cache" / "ganbench" / "small",
    }
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path / "mine"))
    for source in ("cache", "system", "own"):
        write_set(folders[source])
        assert {path.parent for path in dataset.find().values()} == {folders[source]}
    # A folder that lacks one of the four is passed over, not mixed with another.
    next(folders["own"].iterdir()).unlink()
    assert {path.parent for path in dataset.find().values()} == {folders["system"]}


def test_files_of_another_dataset_are_refused(tmp_path, monkeypatch):
    write_set(tmp_path / "mine")
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path / "mine"))
    other = row({"train": small(4, 7), "test": small(2, 2)})
    other.load("test")
    with pytest.raises(DatasetError, match=r"train files in .*mine are not those of small.*SHA-256"):
        other.load("train")


@pytest.mark.parametrize("wrong", ["labels", "images"])
def test_labels_are_verified_with_the_images(tmp_path, monkeypatch, wrong):
    arrays = write_set(tmp_path, "")
    images, labels = arrays["train"]
    path = tmp_path / f"train-{wrong}-{'idx1' if wrong == 'labels' else 'idx3'}-ubyte"
    path.write_bytes(idx_bytes(255 - (labels if wrong == "labels" else images)))
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path))
    with pytest.raises(DatasetError, match="SHA-256"):
        row(arrays).load("train")


@pytest.mark.parametrize("given", [None, "empty"])
def test_without_any_source_the_error_names_the_three_ways(tmp_path, monkeypatch, given):
    pytest.importorskip("torchvision")
    monkeypatch.setattr(vision, "SYSTEM", tmp_path / "system")
    if given:
        monkeypatch.setenv("GANBENCH_DATA", str(tmp_path / given))
    with pytest.raises(DatasetError) as caught:
        named("fashion-mnist").load("test")
    message = str(caught.value)
    for part in (
        "fashion-mnist is not on this machine",
        "set GANBENCH_DATA to a folder",
        "t10k-labels-idx1-ubyte",
        "apt-get install dataset-fashion-mnist",
        "be online once",
        "no route to host",
    ):
        assert part in message
    assert (f"GANBENCH_DATA is {tmp_path / 'empty'}, which does not hold them" in message) == bool(given)
    assert not list((tmp_path / "cache" / "ganbench").iterdir())


def test_a_download_is_kept_in_the_cache(tmp_path, monkeypatch, capsys):
    torchvision = pytest.importorskip("torchvision")
    monkeypatch.setattr(vision, "SYSTEM", tmp_path / "system")
    times = []

    def fetch(root, download):
        print("chatter")
        times.append(vision.socket.getdefaulttimeout())
        for suffix in ("", ".gz"):
            write_set(Path(root) / "FashionMNIST" / "raw", suffix)

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", fetch)
    dataset = row()
    first = dataset.load("train")
    again = dataset.load("train")
    assert (first[0] == again[0]).all()
    assert times == [vision.DOWNLOAD_TIMEOUT] and vision.socket.getdefaulttimeout() is None
    cache = tmp_path / "cache" / "ganbench"
    assert [path.name for path in cache.iterdir()] == ["small"]
    assert sorted(path.suffix for path in (cache / "small").iterdir()) == [".gz"] * 4
    assert capsys.readouterr().out == ""


def test_a_second_process_that_downloads_too_does_no_harm(tmp_path, monkeypatch):
    torchvision = pytest.importorskip("torchvision")
    cache = tmp_path / "cache" / "ganbench"

    def fetch(root, download):
        write_set(Path(root) / "FashionMNIST" / "raw")
        write_set(cache / "small")

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", fetch)
    row().load("train")
    assert [path.name for path in cache.iterdir()] == ["small"]


@needs_files
def test_debians_files():
    images, labels = named("fashion-mnist").load("test")
    assert (np.bincount(labels) == 1000).all()
    assert labels[:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
    # Garments are upright and centred on black: the corners are empty, trousers are taller than wide.
    assert images[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]].mean() < 15
    trousers = images[labels == 1, 0].mean(axis=0) > 64
    assert trousers.any(axis=1).sum() > 1.5 * trousers.any(axis=0).sum()


GOOD = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


@pytest.mark.parametrize("name", ["a", "a.gz"])
def test_idx_round_trip(tmp_path, name):
    path = tmp_path / name
    data = idx_bytes(GOOD)
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert (read_idx(path, (2, 3, 3)) == GOOD).all()


def damaged():
    data = idx_bytes(GOOD)
    header = struct.pack(">4I", 0x803, 2**31, 2**31, 2**31)
    packed = gzip.compress(data)
    flipped = bytearray(packed)
    flipped[-6] ^= 1  # in the checksum that ends a gzip file
    return {
        "empty": (b"", "not IDX"),
        "magic": (b"\x00\x00\x09\x03" + data[4:], "not IDX: it begins with 00 00 09 03, not 00 00 08 03"),
        "dimensions": (b"\x00\x00\x08\x01" + data[4:], "not IDX"),
        "header cut short": (data[:10], "declares the shape"),
        "other shape": (idx_bytes(GOOD.reshape(3, 2, 3)), r"shape \(3, 2, 3\), expected \(2, 3, 3\)"),
        "exabytes": (header, "declares the shape"),
        "truncated": (data[:-1], "declares 18 values and holds only 17"),
        "too long": (data + b"\x00", "declares 18 values and holds more"),
        "not gzip.gz": (data, "cannot be read: Not a gzipped file"),
        "cut gzip.gz": (packed[:-12], "cannot be read"),
        "bad checksum.gz": (bytes(flipped), "cannot be read: CRC check failed"),
        "garbage in gzip.gz": (packed[:10] + b"\x07" + packed[11:], "cannot be read: .*invalid block type"),
    }


@pytest.mark.parametrize("name", damaged())
def test_damaged_idx_is_refused(tmp_path, name):
    data, message = damaged()[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DatasetError, match=message) as caught:
        read_idx(tmp_path / name, (2, 3, 3))
    assert name in str(caught.value)


def test_a_gzip_bomb_is_unpacked_no_further_than_needed(tmp_path):
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(idx_bytes(GOOD))
        for _ in range(256):
            file.write(bytes(2**20))
    tracemalloc.start()
    with pytest.raises(DatasetError, match="holds more"):
        read_idx(path, (2, 3, 3))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22
