from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from ganbench.datasets import digits, mnist
from ganbench.extractors import classifier, identity, pixels
from ganbench.extractors.training import Recipe, shifted, untrained
from ganbench.metrics import frechet_distance
from ganbench.utils.errors import UsageError
from ganbench.utils.withheld import Withheld, withheld

CLASSIFIERS = {extractor.name: extractor for extractor in classifier.ganbench_extractors()}
each_classifier = pytest.mark.parametrize("extractor", CLASSIFIERS.values(), ids=str)


def dataset_of(extractor):
    every = [*digits.ganbench_datasets(), *mnist.ganbench_datasets()]
    return next(dataset for dataset in every if f"{dataset.name}-cnn" == extractor.name)


def held_out(extractor, n=None):
    try:
        with withheld():
            images, labels = dataset_of(extractor).load("test")
    except Withheld:
        pytest.skip(f"the files of {dataset_of(extractor)} are not on this machine")
    return torch.from_numpy(images[:n]), torch.from_numpy(labels[:n])


def random_images(extractor, n=150):
    return torch.randint(0, 256, (n, *extractor.shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def metadata(extractor):
    with safe_open(extractor.path, framework="numpy") as file:
        return json.loads(file.metadata()["training"])


def test_modules_and_hashes_need_no_torch():
    code = (
        "import sys; from ganbench.extractors import classifier, identity, pixels, stacked, trained; "
        "made = classifier.ganbench_extractors() + identity.ganbench_extractors(); "
        "print('weights_hash' in vars(made[0]), [len(one.weights_hash) for one in made], 'torch' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False [64, 64, 64, 64] False"


def test_identity():
    (extractor,) = identity.ganbench_extractors()
    points = torch.randn(7, 2, dtype=torch.float64)
    features, probabilities = extractor(points)
    assert features.shape == (7, extractor.size) and features.dtype == torch.float32
    assert torch.equal(features, points.float()) and probabilities is None
    assert extractor(torch.randn(7, 12))[0].shape == (7, 12)


@pytest.mark.parametrize("batch", [torch.zeros(3, 1, 8, 8), torch.zeros(2), torch.zeros(3, 2, dtype=torch.uint8)])
def test_identity_refuses_what_are_no_points(batch):
    with pytest.raises(ValueError, match=r"expects points of shape \(n, d\) .* got torch\.") as caught:
        identity.Identity()(batch)
    assert str(tuple(batch.shape)) in str(caught.value)


def test_pixels():
    (extractor,) = pixels.ganbench_extractors()
    image = torch.arange(16.0).repeat_interleave(2).expand(1, 3, 32, 32) * torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    features, probabilities = extractor(image)
    assert probabilities is None and features.shape == (1, extractor.size)
    # A cell of the grid is the mean of four columns; grey levels lie in [-1, 1].
    means = (torch.arange(8) * 2 + 0.5).expand(8, 8) * torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    assert torch.allclose(features.view(3, 8, 8), means / 127.5 - 1)
    grey = extractor(torch.full((2, 1, 9, 9), 255, dtype=torch.uint8))[0]
    assert grey.shape == (2, extractor.size) and torch.equal(grey, torch.ones_like(grey))
    for batch in (torch.zeros(3, 2), torch.zeros(3, 2, 8, 8)):
        with pytest.raises(ValueError, match="expects images"):
            extractor(batch)


@each_classifier
def test_accuracy_is_what_the_file_says(extractor):
    images, labels = held_out(extractor)
    _, probabilities = extractor(images)
    accuracy = (probabilities.argmax(dim=1) == labels).double().mean().item()
    facts = metadata(extractor)
    assert facts["dataset"] == extractor.name.removesuffix("-cnn")
    # Another processor may turn an image or two that lie between classes.
    assert accuracy == pytest.approx(facts["held_out_accuracy"], abs=2.5 / len(labels))
    assert accuracy >= {"digits-cnn": 0.98, "fashion-mnist-cnn": 0.895, "mnist-cnn": 0.99}[extractor.name]


@each_classifier
def test_outputs(extractor):
    features, probabilities = extractor(random_images(extractor))
    assert features.shape == (150, extractor.size) and probabilities.shape == (150, extractor.classes)
    assert features.dtype == probabilities.dtype == torch.float32
    assert not features.requires_grad and not features.is_inference()
    assert features.abs().max() <= 1
    assert (probabilities >= 0).all() and (probabilities.sum(dim=1) - 1).abs().max() < 1e-5
    features, probabilities = extractor(random_images(extractor)[:0])
    assert features.shape == (0, extractor.size) and probabilities.shape == (0, extractor.classes)


@each_classifier
def test_every_feature_is_alive_and_no_covariance_is_singular(extractor):
    features, _ = extractor(held_out(extractor)[0])
    spread = features.double().std(dim=0)
    assert spread.min() > 0.5
    variances = torch.linalg.eigvalsh(torch.cov(features.double().T))
    assert variances[0] / variances[-1] > 5e-4


@each_classifier
@pytest.mark.parametrize("size", [1, 7, 64, 100])
def test_results_do_not_depend_on_the_callers_batches(extractor, size):
    images = random_images(extractor)
    together = extractor(images)
    apart = [extractor(chunk) for chunk in images.split(size)]
    for whole, parts in zip(together, zip(*apart, strict=True), strict=True):
        assert (whole - torch.cat(parts)).abs().max() < 1e-5


@each_classifier
def test_a_row_depends_on_its_own_image_alone(extractor):
    images = random_images(extractor)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    assert (extractor(images[order])[0] - extractor(images)[0][order]).abs().max() < 1e-5


@each_classifier
def test_float_images_are_taken_unrounded(extractor):
    images = random_images(extractor)
    exact = extractor(images)
    assert torch.equal(extractor(images.float())[0], exact[0])
    assert torch.equal(extractor(images.double())[1], exact[1])
    moved = extractor(images.float().clamp(1, 254) + 0.3)[0] - extractor(images.float().clamp(1, 254))[0]
    assert 0 < moved.abs().max() < 0.2
    strided = images.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2)
    assert (extractor(strided)[0] - exact[0]).abs().max() < 1e-5


@each_classifier
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((3, 2), torch.float32),
        ((1, 8, 8), torch.uint8),
        ((3, 3, 8, 8), torch.uint8),
        ((3, 1, 32, 32), torch.uint8),
        (None, torch.int64),
        (None, torch.bool),
    ],
)
def test_other_shapes_and_types_are_refused(extractor, shape, dtype):
    batch = torch.zeros(shape or (2, *extractor.shape), dtype=dtype)
    expected = f"(n, {', '.join(map(str, extractor.shape))})"
    with pytest.raises(ValueError) as caught:
        extractor(batch)
    for part in (extractor.name, expected, str(tuple(batch.shape)), str(dtype)):
        assert part in str(caught.value)


@pytest.fixture
def hostile():
    """Global settings that a variant may leave behind."""
    conv = torch.backends.mkldnn.conv
    before = torch.get_default_dtype(), torch.get_float32_matmul_precision(), conv.fp32_precision
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_float32_matmul_precision("medium")
    conv.fp32_precision = "bf16"
    yield
    torch.set_default_dtype(before[0])
    torch.set_default_device(None)
    torch.set_float32_matmul_precision(before[1])
    conv.fp32_precision = before[2]


def fresh(extractor):
    fields = ("name", "size", "shape", "classes", "sha256")
    return classifier.Classifier(**{field: getattr(extractor, field) for field in fields})


@pytest.fixture(params=CLASSIFIERS.values(), ids=str)
def usual(request):
    """An extractor, images, and what it gives for them before anything was changed."""
    images = random_images(request.param)
    return request.param, images, request.param(images)


def test_global_settings_change_nothing_and_are_put_back(usual, hostile):
    extractor, images, expected = usual
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = fresh(extractor)(images)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32 and one.device.type == "cpu"
        assert torch.equal(one, other)
    assert torch.get_float32_matmul_precision() == "medium"
    assert torch.backends.mkldnn.conv.fp32_precision == "bf16"
    assert torch.get_default_dtype() == torch.float64


def test_arithmetic_is_full_precision_inside_even_after_an_error():
    switches = [torch.backends.cudnn.conv, torch.backends.cuda.matmul, torch.backends.mkldnn.matmul]
    allowed = ["tf32", "tf32", "bf16"]
    before = [switch.fp32_precision for switch in switches]
    try:
        for switch, precision in zip(switches, allowed, strict=True):
            switch.fp32_precision = precision
        with pytest.raises(ZeroDivisionError), classifier.full_precision("cpu"):
            assert [switch.fp32_precision for switch in switches] == ["ieee"] * 3
            assert not torch.is_autocast_enabled("cpu")
            raise ZeroDivisionError
        assert [switch.fp32_precision for switch in switches] == allowed
    finally:
        for switch, precision in zip(switches, before, strict=True):
            switch.fp32_precision = precision


@each_classifier
def test_no_random_number_is_drawn(extractor):
    images = random_images(extractor)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    fresh(extractor)(images)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all() and random.getstate() == states[2]


@each_classifier
def test_hash_and_size_of_the_weights(extractor, tmp_path, monkeypatch):
    content = extractor.path.read_bytes()
    assert len(content) < 2**19
    assert extractor.weights_hash == hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(classifier, "WEIGHTS", tmp_path)
    fresh(extractor).path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UsageError, match="is damaged"):  # it is not the file that ships
        _ = fresh(extractor).weights_hash


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@each_classifier
def test_another_device_gives_the_same_features(extractor):
    images = random_images(extractor)
    for one, other in zip(extractor(images.cuda()), extractor(images), strict=True):
        assert one.is_cuda and (one.cpu() - other).abs().max() < 1e-4


def blurred(images):
    kernel = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16
    padded = torch.nn.functional.pad(images.float(), (1, 1, 1, 1), mode="replicate")
    return torch.nn.functional.conv2d(padded, kernel[None, None])


@each_classifier
def test_the_distance_tells_real_from_worse(extractor):
    """What an FID is for: the reachable value, that of real images drawn afresh, lies far below every flaw's."""
    images, labels = held_out(extractor, 4000)
    rng = torch.Generator().manual_seed(0)
    real = extractor(images)[0]

    def distance(features):
        return frechet_distance(real, features)

    n = len(real)
    order = torch.randperm(n, generator=rng)
    # Between two halves the bias is twice that of two whole sets.
    floor = frechet_distance(real[order[: n // 2]], real[order[n // 2 :]]) / 2
    trace = torch.cov(real.double().T).trace().item()
    noise = distance(extractor(torch.randint(0, 256, images.shape, dtype=torch.uint8, generator=rng))[0])
    mean = distance(extractor(images.float().mean(dim=0, keepdim=True).expand_as(images))[0])
    prototypes = torch.cat([torch.nonzero(labels == label)[:1] for label in range(10)])[:, 0]
    assert floor < 0.01 * trace
    # The strokes of MNIST are smooth already: little of it changes.
    assert distance(extractor(blurred(images))[0]) > {"mnist-cnn": 5}.get(extractor.name, 8) * floor
    assert distance(real[labels != 3]) > 2.5 * floor  # one class of ten is missing
    assert distance(real[labels < 5]) > 30 * floor  # five are
    assert distance(real[prototypes[labels]]) > 20 * floor  # one image a class
    assert noise > 0.3 * trace and mean > trace


@each_classifier
def test_training_images_are_not_easier_than_held_out_ones(extractor):
    """The classifier saw the training split; had it over-fitted, real training images would score badly.

    The splits of MNIST are not alike, so that features which saw neither find them further apart than chance has it.
    """
    images = held_out(extractor)[0]
    train = torch.from_numpy(dataset_of(extractor).load("train")[0])
    train = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[: len(images)]]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))

    def gap(features):
        """The distance of the splits, in units of that between halves of one."""
        real, of_train = features(images), features(train)
        halves = frechet_distance(real[order[: len(real) // 2]], real[order[len(real) // 2 :]]) / 2
        return frechet_distance(real, of_train) / halves

    recipe = Recipe(shifted, epochs=1, batch_size=1)
    weights = untrained(extractor.shape, extractor.size, extractor.classes, recipe)
    with torch.no_grad():
        blind = gap(lambda images: torch.cat([classifier.network(weights, chunk)[0] for chunk in images.split(64)]))
    assert gap(lambda images: extractor(images)[0]) < (max(1.5, blind) if extractor.name == "mnist-cnn" else 1.5)


@pytest.mark.slow
def test_the_training_script_reproduces_the_digits_classifier(tmp_path):
    script = Path(__file__).parents[2] / "benchmarks" / "train_classifiers.py"
    subprocess.run([sys.executable, script, "digits", "--output", tmp_path], check=True, stdout=subprocess.DEVNULL)
    with safe_open(tmp_path / "digits-cnn.safetensors", framework="numpy") as file:
        facts = json.loads(file.metadata()["training"])
    shipped = metadata(CLASSIFIERS["digits-cnn"])
    assert facts["recipe"] == shipped["recipe"]
    assert facts["held_out_accuracy"] == pytest.approx(shipped["held_out_accuracy"], abs=0.01)
