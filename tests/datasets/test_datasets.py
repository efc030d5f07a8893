from __future__ import annotations

import hashlib
import math
import subprocess
import sys

import numpy as np
import pytest

from ganbench.datasets import digits, mnist, stacked, synthetic
from ganbench.utils.withheld import Withheld, withheld


def named(name):
    every = [dataset for module in (digits, stacked, synthetic, mnist) for dataset in module.ganbench_datasets()]
    return next(dataset for dataset in every if dataset.name == name)


def needs(name):
    """Skip where the dataset's files are not on this machine; GANBENCH_DATA may say where they are."""
    try:
        with withheld():
            named(name).find()
    except Withheld:
        return pytest.mark.skip(reason=f"the files of {name} are not on this machine")
    return ()


def real(name, *values):
    return pytest.param(name, *values, marks=needs(name.removeprefix("stacked-")))


def content(dataset, split):
    data, labels = dataset.load(split)
    return hashlib.sha256(data.tobytes() + labels.tobytes()).hexdigest()


def test_modules_are_light():
    code = (
        "import sys; from ganbench.datasets import cifar, digits, folder, npz, stacked, svhn, synthetic, mnist; "
        "heavy = {'torch', 'torchvision', 'sklearn', 'pandas', 'scipy', 'pooch', 'requests', 'PIL', 'safetensors'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize(
    ("name", "shape", "sizes", "classes", "primary"),
    [
        ("digits", (1, 8, 8), (897, 900), 10, "fid"),
        ("ring8", (2,), (50_000, 2_500), 8, "recovered_mass"),
        ("grid25", (2,), (50_000, 2_500), 25, "recovered_mass"),
        ("stacked-digits", (3, 8, 8), (51_200, 26_000), 1000, "mode_kl"),
        real("fashion-mnist", (1, 28, 28), (60_000, 10_000), 10, "fid"),
        real("mnist", (1, 28, 28), (60_000, 10_000), 10, "fid"),
        real("stacked-mnist", (3, 28, 28), (51_200, 26_000), 1000, "mode_kl"),
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
        (
            "stacked-digits",
            "cd5ba1b65db69f44213d73112d10dc89556e2ba39570adace28d647cbe83b9c0",
            "841100695271e1857f0a17e92c65696ab502aa84580dddce1969b7f5dae218ec",
        ),
        real(
            "stacked-mnist",
            "680e35ab171a28c92376a7eac4154a59da444148b2642d3d4a786e75a9db6340",
            "2ecf84bb8977902e40291073defc9a78692f47be2cbed9f35a96b88bce87b94d",
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


@pytest.mark.parametrize("name", ["digits", real("mnist")])
def test_stacks_hold_three_digits_of_their_own_split_each(name):
    for split in ("train", "test"):
        images, labels = named(f"stacked-{name}").load(split)
        singles, digit = named(name).load(split)
        of = {image.tobytes(): label for image, label in zip(singles[:, 0], digit, strict=True)}
        for image, label in list(zip(images, labels, strict=True))[::100]:
            a, b, c = (of[channel.tobytes()] for channel in image)
            assert label == 100 * a + 10 * b + c
        counts = np.bincount(labels, minlength=1000)
        assert counts.min() > 0 and abs(np.corrcoef(labels // 100, labels % 10)[0, 1]) < 0.03


@pytest.mark.parametrize(
    ("name", "train", "test", "first"),
    [
        real("fashion-mnist", [6000] * 10, [1000] * 10, [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]),
        real(
            "mnist",
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
            [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
            [7, 2, 1, 0, 4, 1, 4, 9, 5, 9],
        ),
    ],
)
def test_the_real_files(name, train, test, first):
    assert np.bincount(named(name).load("train")[1]).tolist() == train
    images, labels = named(name).load("test")
    assert np.bincount(labels).tolist() == test
    assert labels[:10].tolist() == first
    # Garments and digits are upright and centred on black: the corners are empty, trousers and ones taller than wide.
    assert images[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]].mean() < 15
    mean = images[labels == 1, 0].mean(axis=0) > 64
    assert mean.any(axis=1).sum() > 1.5 * mean.any(axis=0).sum()
