"""Classifiers trained on this machine for labelled datasets without shipped weights, and those of stacked digits."""

from __future__ import annotations

import hashlib
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from ganbench.datasets import digits, stacked
from ganbench.datasets.folder import Folder
from ganbench.discovery.loader import DiscoveryError, discover
from ganbench.extractors import Unfit, trained
from ganbench.extractors import stacked as stacked_extractors
from ganbench.extractors.classifier import SHIPPED
from ganbench.harness import describe, real_data
from ganbench.harness.real_data import RealData
from ganbench.plugin.interfaces import Dataset
from ganbench.utils.errors import UsageError
from ganbench.utils.withheld import Withheld, withheld


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    return tmp_path / "cache" / "ganbench" / "extractors"


def stripes(split):
    """Three easy classes: stripes down, stripes across, and none; 60 and 30 images of 3x8x10."""
    n = {"train": 60, "test": 30}[split]
    rng = np.random.RandomState(n)
    images = rng.randint(0, 60, (n, 3, 8, 10)).astype(np.uint8)
    labels = np.arange(n) % 3
    images[labels == 0, :, ::2] += 150
    images[labels == 1, :, :, ::2] += 150
    return images, labels


def dataset(**changes):
    fields = {"name": "stripes", "shape": (3, 8, 10), "classes": 3, "budget_images": 64, "load": stripes}
    return Dataset(**{**fields, **changes})


def extractor(name="stripes-cnn"):
    return trained.AnyTrained().member(name)


def files(folder):
    return sorted(path for path in folder.iterdir() if path.suffix == ".safetensors")


def test_it_learns_and_says_so(cache):
    one = extractor()
    real = RealData(dataset(), one, 30)
    (path,) = files(cache)
    assert "it was trained here" in real.notes[0] and str(path) in real.notes[0]
    images, labels = map(torch.from_numpy, stripes("test"))
    features, probabilities = one(images)
    assert features.shape == (30, one.size) and probabilities.shape == (30, 3) and features.abs().max() <= 1
    assert (probabilities.argmax(dim=1) == labels).double().mean() == 1.0
    assert "held-out accuracy 1.000" in real.notes[0]
    assert one.weights_hash == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (one.shape, one.classes) == ((3, 8, 10), 3)


def test_it_is_trained_once(cache, monkeypatch):
    first = extractor()
    RealData(dataset(), first, 30)
    monkeypatch.setattr(trained, "_train", None)
    again = extractor()
    assert RealData(dataset(), again, 30).notes == []
    assert again.weights_hash == first.weights_hash
    assert torch.equal(again(torch.from_numpy(stripes("test")[0]))[0], first(torch.from_numpy(stripes("test")[0]))[0])


def test_the_same_data_give_the_same_bits_whatever_the_state_of_the_process(cache):
    hashes, drawn = [], []
    for seed, threads in ((1, 1), (2, 2)):
        torch.manual_seed(seed)
        before, count = torch.get_rng_state(), torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            one = extractor()
            RealData(dataset(), one, 30)
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(count)
        hashes.append(one.weights_hash)
        drawn.append(torch.equal(torch.get_rng_state(), before))
        for path in files(cache):
            path.unlink()
    assert hashes[0] == hashes[1] and all(drawn)


def test_other_data_have_another_classifier(cache):
    def darker(split):
        images, labels = stripes(split)
        return images // 2, labels

    RealData(dataset(), extractor(), 30)
    RealData(dataset(load=darker), extractor(), 30)
    assert len(files(cache)) == 2
    keys = {path.stem.split("-")[2] for path in files(cache)}
    assert len(keys) == 2


@pytest.mark.parametrize("change", ["flipped", "cut", "emptied"])
def test_a_damaged_file_is_noticed_and_trained_again_to_the_same_bits(cache, change):
    RealData(dataset(), extractor(), 30)
    (path,) = files(cache)
    good = path.read_bytes()
    path.write_bytes({"flipped": good[:-1] + bytes([good[-1] ^ 1]), "cut": good[:-9], "emptied": b""}[change])
    notes = RealData(dataset(), extractor(), 30).notes
    assert f"{path} was damaged" in notes[0] and "it was trained here" in notes[1]
    assert files(cache) == [path] and path.read_bytes() == good


def test_two_at_once_train_once(cache, monkeypatch):
    train, calls = trained._train, []

    def counted(*arguments):
        calls.append(1)
        return train(*arguments)

    monkeypatch.setattr(trained, "_train", counted)
    threads = [threading.Thread(target=RealData, args=(dataset(), extractor(), 30)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1 and len(files(cache)) == 1
    assert not [path for path in cache.iterdir() if path.suffix not in (".safetensors", ".lock")]


@pytest.mark.parametrize(
    ("changes", "name", "kind", "message"),
    [
        ({"classes": None}, "stripes-cnn", Unfit, "stripes has no labels to train a classifier on"),
        ({"load": lambda s: (stripes(s)[0], None)}, "stripes-cnn", Unfit, "no labels"),
        ({"shape": (2,), "load": lambda s: (np.zeros((9, 2), np.float32), None)}, "stripes-cnn", Unfit, "no labels"),
        ({}, "other-cnn", UsageError, "is trained on a dataset other and cannot score stripes; that has stripes-cnn"),
    ],
)
def test_what_it_cannot_learn_from(cache, changes, name, kind, message):
    with pytest.raises(kind, match=message):
        RealData(dataset(**changes), extractor(name), 30)
    assert not cache.exists() or not files(cache)


def test_it_is_used_after_it_was_fitted():
    with pytest.raises(UsageError, match="was not fitted"):
        _ = extractor().weights_hash
    with pytest.raises(UsageError, match="is named after it: stripes-cnn"):
        RealData(dataset(), trained.AnyTrained(), 30)


@pytest.mark.parametrize(
    ("n", "side", "channels"), [(60_000, 28, 1), (50_000, 32, 3), (73_257, 32, 3), (2_000, 64, 3), (100_000, 64, 1)]
)
def test_the_time_of_a_training_is_bounded(monkeypatch, n, side, channels):
    seen = []

    def observed(images, labels, size, classes, recipe):
        seen.append((len(images) * recipe.epochs, recipe))
        return {}

    monkeypatch.setattr("ganbench.extractors.training.train", observed)
    monkeypatch.setattr("ganbench.extractors.training.accuracy", lambda *_: 1.0)
    images = torch.zeros(1, channels, 1, 1, dtype=torch.uint8).expand(n, channels, side, side)
    labels = torch.zeros(n, dtype=torch.int64)
    trained._train({"train": (images, labels), "test": (images[:1], labels[:1])}, 10)
    total, recipe = seen[0]
    assert total * side * side <= 1.5 * trained.PIXELS and recipe.epochs <= trained.MOST_EPOCHS
    assert total >= 0.6 * min(trained.PIXELS / side**2, n * trained.MOST_EPOCHS)


# --- how it is asked for


def test_names_of_families_are_resolved():
    catalog = discover([("extractor", "spiral-cnn")])
    assert catalog.get("extractor", "spiral-cnn").name == "spiral-cnn"
    assert ("extractor", "cnn") in catalog.offers and ("extractor", "identity") not in catalog.offers
    assert discover([("extractor", "digits-cnn")]).get("extractor", "digits-cnn").thing in SHIPPED
    for name in ("folderr:x", "folder-spiral", "npz"):
        catalog = discover([("dataset", name)])
        if name == "npz":
            assert catalog.get("dataset", name).thing.name == "npz"
            continue
        with pytest.raises(DiscoveryError, match=f"there is no dataset '{name}'"):
            catalog.get("dataset", name)


def photos(root, classes):
    for i, (image, label) in enumerate(zip(*stripes("train"), strict=True)):
        folder = root / (str(label) if classes else "")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{i}.png")
    return root


def described(path, extractor=None):
    payload = {
        "dataset": f"folder:{path}",
        "metrics": None,
        "extractor": extractor,
        "samples": None,
        "curve_samples": None,
        "device": "cpu",
    }
    return describe.describe_dataset(payload)


def test_a_labelled_folder_gets_its_own_classifier(tmp_path, cache):
    found = described(photos(tmp_path / "mine", True))
    assert found["name"] == Folder().member(f"folder:{tmp_path / 'mine'}").name
    assert found["extractor"] == f"{found['name']}-cnn"
    assert found["extractor_hash"] == hashlib.sha256(files(cache)[0].read_bytes()).hexdigest()
    trained, warned = [note for note in found["notes"] if "below 2 d" not in note], found["notes"]
    assert [note.split()[0] for note in trained] == [f"folder:{tmp_path / 'mine'}", f"{found['name']}-cnn:"]
    assert len(warned) == len(trained) + 1  # a few photos are too few for as many features
    assert "mode_kl" in found["metrics"]


def test_without_labels_another_extractor_is_asked_for(tmp_path):
    path = photos(tmp_path / "mine", False)
    with pytest.raises(UsageError) as caught:
        described(path)
    message = str(caught.value)
    assert "has no labels" in message and "--extractor" in message and "pixels (Mean colours" in message
    for other in ("identity", "digits-cnn", "fashion-mnist-cnn", "stacked"):
        assert other not in message
    found = described(path, "pixels")
    assert found["extractor"] == "pixels" and "mode_kl" not in found["metrics"]


def test_a_folder_runs_from_end_to_end(tmp_path, ganbench):
    photos(tmp_path / "photos", True)
    environment = {"XDG_CACHE_HOME": str(tmp_path / "home")}
    arguments = ["run", "-p", "noise", "-d", "folder:photos@size=8", "--seeds", "2", "--images", "128"]
    first = ganbench(*arguments, "--evaluations", "2", **environment)
    assert first.returncode == 0, first.stderr
    (place,) = [path for path in (tmp_path / "ganbench-results").glob("folder-*") if path.is_dir()]
    assert f"folder:photos@size=8 is {place.name}: 48 training and 12 held-out images of 3x8x8" in first.stderr
    assert f"FID ({place.name}-cnn)" in first.stdout
    assert len(list(place.glob("noise/seed-*/record.json"))) == 2
    (tmp_path / "photos").rename(tmp_path / "moved")
    # By its own name, without the folder: the same trials.
    again = ganbench(*arguments[:4], place.name, *arguments[5:], "--evaluations", "2", **environment)
    assert again.returncode == 0 and "2 finished earlier" in again.stderr, again.stderr


# --- stacked digits


@pytest.mark.parametrize("name", ["digits-cnn", "mnist-cnn"])
def test_stacked_features_and_probabilities(name):
    one = next(one for one in stacked_extractors.ganbench_extractors() if one.name == f"stacked-{name}")
    digit = next(shipped for shipped in SHIPPED if shipped.name == name)
    side = digit.shape[-1]
    singles = torch.from_numpy(digits.Digits().load("test")[0])[:90]
    images = torch.nn.functional.interpolate(singles.float(), size=side).reshape(30, 3, side, side)
    features, probabilities = one(images)
    assert features.shape == (30, one.size) and one.size == 3 * digit.size and probabilities.shape == (30, 1000)
    of_each = [digit(images[:, i : i + 1]) for i in range(3)]
    assert torch.allclose(features, torch.cat([f for f, _ in of_each], dim=1), atol=1e-5)
    for label in (0, 7, 123, 999):
        expected = of_each[0][1][:, label // 100] * of_each[1][1][:, label // 10 % 10] * of_each[2][1][:, label % 10]
        assert torch.allclose(probabilities[:, label], expected, atol=1e-5)
    assert (probabilities.sum(dim=1) - 1).abs().max() < 1e-4
    assert len(one.weights_hash) == 64 and one.weights_hash != digit.weights_hash
    assert one(images[:0])[0].shape == (0, one.size)
    with pytest.raises(ValueError, match="three channels"):
        one(images[:, :1])


def test_every_real_mode_of_stacked_mnist_is_found():
    """As in the literature: of 26,000 real stacks each of the 1,000 modes is seen, three digits in 97 of 100 right."""
    data = stacked.ganbench_datasets()[1]
    try:
        with withheld():
            images, labels = data.load("test")
    except Withheld:
        pytest.skip("the files of mnist are not on this machine")
    one = stacked_extractors.ganbench_extractors()[1]
    found = torch.cat([one(chunk)[1].argmax(dim=1) for chunk in torch.from_numpy(images).split(1000)]).numpy()
    assert (data.samples, len(found), len(set(found))) == (26_000, 26_000, 1000)
    assert (found == labels).mean() > 0.97


def test_modes_of_stacked_digits_are_counted_in_all_samples_and_neighbours_in_some(monkeypatch):
    monkeypatch.setattr(real_data, "MOST_SAMPLES", 300)
    monkeypatch.setattr(stacked, "COUNTS", {"train": 900, "test": 800})
    data = stacked.ganbench_datasets()[0]
    one = RealData(data, stacked_extractors.ganbench_extractors()[0], 700)
    side = one.held_out
    assert len(side.samples) == len(side.probabilities) == len(side.labels) == 700 and len(side.features) == 300
    assert (side.probabilities.argmax(axis=1) == side.labels).mean() > 0.93
    assert len(one.describe(one.images["train"][:500]).features) == 300
    assert len(one.train.features) == 900
    single = RealData(digits.Digits(), SHIPPED[0], 700)
    assert len(single.held_out.features) == 700
