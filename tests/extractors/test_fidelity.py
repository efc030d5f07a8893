"""Pretrained networks: the same numbers as torch-fidelity's, from files of weights that are read safely."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from ganbench.discovery.loader import discover
from ganbench.extractors import fidelity, weight_files
from ganbench.extractors.dinov2 import VisionTransformer
from ganbench.harness.describe import describe_dataset
from ganbench.scoring.score import Options, score
from ganbench.utils.errors import UsageError

OFFERS = {one.name: one for one in fidelity.ganbench_extractors()}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of torch-fidelity's network in its own layout."""
    from torch_fidelity import feature_extractor_inceptionv3 as module

    class Untrained(module.FeatureExtractorInceptionV3):
        def load_state_dict(self, *arguments: Any, **named: Any) -> None:
            """Keep what the constructor drew."""

    folder = tmp_path_factory.mktemp("inception")
    torch.save({}, folder / "empty.pth")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Untrained("inception-v3-compat", ["2048"], str(folder / "empty.pth"))
        for part in network.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight)
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.1)
                part.running_var.uniform_(0.5, 1.5)
                part.weight.data.uniform_(0.8, 1.2)
                part.bias.data.normal_(0, 0.1)
    torch.save(network.state_dict(), folder / "weights.pth")
    return folder / "weights.pth"


def pictures(folder: Path, n: int, seed: int, shift: int) -> Path:
    """Smooth colour pictures of 24x20, the first of them grey."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for i in range(n):
        coarse = Image.fromarray(rng.integers(0, 200, (5, 4, 3), dtype=np.uint8)).resize((20, 24))
        image = Image.fromarray((np.asarray(coarse) + shift).astype(np.uint8))
        (image.convert("L") if i == 0 else image).save(folder / f"{i}.png")
    return folder


def theirs(real: Path, fake: Path, weights: Path, n: int) -> dict[str, float]:
    import torch_fidelity

    found = torch_fidelity.calculate_metrics(
        input1=str(fake),
        input2=str(real),
        isc=True,
        fid=True,
        kid=True,
        prc=True,
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(weights),
        isc_splits=1,
        kid_subset_size=n,
        cuda=False,
        cache=False,
        verbose=False,
        save_cpu_ram=True,
    )
    return {
        "fid": found["frechet_inception_distance"],
        "kid": found["kernel_inception_distance_mean"],
        "is": found["inception_score_mean"],
        "precision": found["precision"],
        "recall": found["recall"],
    }


@pytest.mark.parametrize("n", [7, pytest.param(50, marks=pytest.mark.slow)])
def test_two_folders_score_as_torch_fidelity_scores_them(inception: Path, tmp_path: Path, n: int) -> None:
    real, fake = pictures(tmp_path / "real", n, 1, 0), pictures(tmp_path / "fake", n, 2, 30)
    found = score(str(real), str(fake), Options(extractor="inception-v3", weights=inception))
    name = f"inception-v3@{weight_files.digest(inception)[:8]}"
    assert found.about["extractor"] == name and found.scores[0].label == f"FID ({name})"
    assert sum(str(inception) in note for note in found.notes) == 1
    assert any("below 2 d = 4,096" in note for note in found.notes)
    values = {one.name: one.value for one in found.scores}
    expected = theirs(real, fake, inception, n)
    assert values["fid"] == pytest.approx(expected["fid"], rel=1e-5)  # n < d, where theirs is off in the sixth digit
    assert values["is"] == pytest.approx(expected["is"], rel=1e-6)
    assert values["kid"] == pytest.approx(expected["kid"], rel=5e-5)  # theirs is 1e-5 off a float64 reference
    assert (values["precision"], values["recall"]) == pytest.approx((expected["precision"], expected["recall"]))
    if n == 7:
        quick = score(str(real), str(fake), Options(weights=inception, fast=True, metrics=("fid",)))
        assert quick.scores[0].label.startswith("FID (inception-v3-fast@")
        assert quick.scores[0].value == pytest.approx(expected["fid"], rel=1e-4)


def test_features_are_those_of_the_network_to_the_bit_and_fast_ones_nearly(inception: Path) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], str(inception))
    extractor = OFFERS["inception-v3"].with_weights(inception)
    images = torch.randint(0, 256, (3, 3, 40, 31), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features, logits = network(images)
    ours, probabilities = extractor(images)
    assert torch.equal(ours, features) and ours.shape == (3, extractor.size)
    assert torch.allclose(probabilities.double(), logits.double().softmax(dim=1), rtol=1e-6, atol=1e-9)
    unrounded, _ = extractor(images.float() + 0.25)
    assert not torch.equal(unrounded, ours) and (unrounded - ours).norm() / ours.norm() < 0.05
    fast = OFFERS["inception-v3-fast"].with_weights(inception)
    assert fast.name.startswith("inception-v3-fast@") and fast.weights_hash != extractor.weights_hash
    quick, _ = fast(images)
    assert (quick - features).norm() / features.norm() < 1e-5 and not torch.equal(quick, features)


@pytest.mark.parametrize("size", [(32, 32), (299, 299), (17, 400), (1, 5)])
def test_the_resize_by_products_is_tensorflows(size: tuple[int, int]) -> None:
    from ganbench.extractors import networks  # and torchvision with it: too slow for every collection

    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 255
    assert (networks.resized_by_products(images, 299) - networks.resized(images, 299)).abs().max() < 1e-4
    untouched = networks.interpolate_bilinear_2d_like_tensorflow1x(images, size=(299, 299), align_corners=False)
    assert torch.equal(networks.resized(images, 299), untouched)


def test_grey_images_are_their_colour_copies_and_others_are_refused(inception: Path) -> None:
    extractor = OFFERS["inception-v3-fast"].with_weights(inception)
    grey = torch.randint(0, 256, (2, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(extractor(grey)[0], extractor(grey.expand(-1, 3, -1, -1))[0])
    for batch in (torch.zeros(2, 2), torch.zeros(2, 4, 8, 8), torch.zeros(2, 3, 8, 8, dtype=torch.int64)):
        with pytest.raises(ValueError, match="expects images of shape"):
            extractor(batch)


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    code = (
        "import sys; from ganbench.extractors.fidelity import ganbench_extractors as offer; offer()\n"
        "assert not {'torch', 'torchvision', 'torch_fidelity'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_weights_of_any_hash_are_taken_and_found_again_by_it(inception: Path, tmp_path: Path) -> None:
    save_file(torch.load(inception, weights_only=True), tmp_path / "same.safetensors")
    one, two = (OFFERS["inception-v3"].with_weights(path) for path in (inception, tmp_path / "same.safetensors"))
    assert one.name != two.name and one.weights_hash != two.weights_hash
    images = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    assert torch.equal(one(images)[0], two(images)[0])
    again = discover([("extractor", two.name)]).get("extractor", two.name)
    assert again.thing.path == tmp_path / "same.safetensors" and again.thing.weights_hash == two.weights_hash
    (tmp_path / "same.safetensors").write_bytes(b"other")
    with pytest.raises(UsageError, match="not where they were; give their file again with --weights"):
        discover([("extractor", two.name)]).get("extractor", two.name)


def test_files_that_are_no_weights_are_refused_unrun(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"a": Trap()}, tmp_path / "trap.pth")
    torch.save({"a": 1}, tmp_path / "numbers.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is on its way out
        torch.jit.save(torch.jit.trace(nn.Linear(1, 1), torch.zeros(1, 1)), tmp_path / "script.pt")
    (tmp_path / "text.safetensors").write_text("no tensors")
    for name, message in (
        ("trap.pth", "cannot be read"),
        ("numbers.pth", "not a state dict"),
        ("other.pth", "does not hold weights of inception-v3"),
        ("script.pt", "cannot be read"),
        ("text.safetensors", "cannot be read"),
    ):
        extractor = OFFERS["inception-v3"].with_weights(tmp_path / name)
        with pytest.raises(UsageError, match=message):
            extractor(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    assert not (tmp_path / "sprung").exists()
    with pytest.raises(UsageError, match="cannot be read"):
        OFFERS["vgg16"].with_weights(tmp_path / "nowhere.pth")


def test_named_weights_are_checked_and_their_absence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.hub

    def refuse(*arguments: Any, **named: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    for name in OFFERS:
        fresh = {one.name: one for one in fidelity.ganbench_extractors()}[name]
        with pytest.raises(UsageError, match="--weights FILE") as caught:
            _ = fresh.weights_hash
        assert fresh.published.url in str(caught.value) and name in str(caught.value)
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda url, path, **named: Path(path).write_bytes(b"evil"))
    fresh = fidelity.ganbench_extractors()[0]
    with pytest.raises(UsageError, match="its SHA-256 should begin with 6726825d"):
        _ = fresh.weights_hash


def test_hashes_are_those_that_torch_fidelity_and_torchvision_state() -> None:
    from torch_fidelity import feature_extractor_clip, feature_extractor_dinov2, feature_extractor_inceptionv3
    from torchvision.models import VGG16_Weights

    assert OFFERS["inception-v3"].published.url == feature_extractor_inceptionv3.URL_INCEPTION_V3
    assert OFFERS["vgg16"].published.url == VGG16_Weights.IMAGENET1K_V1.url
    for name in ("inception-v3", "vgg16"):
        assert OFFERS[name].published.url.endswith(f"-{OFFERS[name].published.digest}.pth")
    for name, url in feature_extractor_clip.MODEL_URLS.items():
        about = feature_extractor_clip.MODEL_METADATA[name]
        assert OFFERS[name].published.url == url and OFFERS[name].published.digest == about["hash"]
    assert {name for name in OFFERS if name.startswith("dinov2")} == set(feature_extractor_dinov2.MODEL_METADATA)


def small_clip() -> dict[str, Tensor]:
    from torch_fidelity.feature_extractor_clip import CLIPVisual

    torch.manual_seed(0)
    network = CLIPVisual(embed_dim=16, image_resolution=32, vision_layers=2, vision_width=64, vision_patch_size=8)
    return {**network.state_dict(), "text_projection": torch.zeros(8, 16)}


def test_clip_is_torch_fidelitys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch_fidelity import feature_extractor_clip

    state = small_clip()
    torch.save(state, tmp_path / "clip.pth")
    archive = type("Archive", (), {"state_dict": lambda self: dict(state)})()
    monkeypatch.setattr(feature_extractor_clip.torch.jit, "load", lambda *arguments, **named: archive)
    network = feature_extractor_clip.FeatureExtractorCLIP("clip-vit-b-32", ["clip"], "any")
    images = torch.randint(0, 256, (3, 3, 20, 24), dtype=torch.uint8)
    with torch.no_grad():
        (expected,) = network(images)
    features, probabilities = OFFERS["clip-vit-b-32"].with_weights(tmp_path / "clip.pth")(images)
    assert torch.equal(features, expected) and probabilities is None


def test_vgg16_is_torch_fidelitys(tmp_path: Path) -> None:
    import torchvision
    from torch_fidelity.feature_extractor_vgg16 import FeatureExtractorVGG16

    state = torchvision.models.vgg16(init_weights=False).state_dict()
    torch.save(state, tmp_path / "vgg.pth")
    network = FeatureExtractorVGG16("vgg16", ["fc2_relu"], str(tmp_path / "vgg.pth"))
    images = torch.randint(0, 256, (2, 3, 20, 24), dtype=torch.uint8)
    with torch.no_grad():
        (expected,) = network(images)
    features, _ = OFFERS["vgg16"].with_weights(tmp_path / "vgg.pth")(images)
    assert torch.equal(features, expected) and features.shape == (2, 4096) and features.std() > 0


def transformer(width: int, depth: int, gated: bool) -> dict[str, Tensor]:
    """Random weights in the layout of DINOv2's files."""
    rng = torch.Generator().manual_seed(0)
    hidden = 4 * width
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "mask_token": (1, width),
        "pos_embed": (1, 1 + 37 * 37, width),
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    layers = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
    layers |= {"mlp.w12": (2 * hidden, width), "mlp.w3": (width, hidden)} if gated else {}
    layers |= {} if gated else {"mlp.fc1": (hidden, width), "mlp.fc2": (width, hidden)}
    for i in range(depth):
        for name in ("norm1", "norm2"):
            shapes |= {f"blocks.{i}.{name}.weight": (width,), f"blocks.{i}.{name}.bias": (width,)}
        for name in ("ls1", "ls2"):
            shapes[f"blocks.{i}.{name}.gamma"] = (width,)
        for name, shape in layers.items():
            shapes |= {f"blocks.{i}.{name}.weight": shape, f"blocks.{i}.{name}.bias": shape[:1]}
    return {name: torch.randn(shape, generator=rng) / max(shape[-1], 1) ** 0.5 for name, shape in shapes.items()}


@pytest.mark.parametrize("gated", [False, True])
def test_dinov2_by_torchs_own_layers(gated: bool) -> None:
    state = transformer(128, 2, gated)
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    patches = nn.functional.unfold(images, 14, stride=14).mT @ state["patch_embed.proj.weight"].flatten(1).T
    grid = state["pos_embed"][0, 1:].T.reshape(1, 128, 37, 37)
    grid = nn.functional.interpolate(grid, scale_factor=16.1 / 37, mode="bicubic")
    tokens = patches + state["patch_embed.proj.bias"] + grid.flatten(2).mT
    first = (state["cls_token"] + state["pos_embed"][:, :1]).expand(2, -1, -1)
    tokens = torch.cat([first, tokens], dim=1)
    for i in range(2):
        block = {key.removeprefix(f"blocks.{i}."): value for key, value in state.items()}
        attention = nn.MultiheadAttention(128, 2, batch_first=True)
        names = {"in_proj_weight": "attn.qkv.weight", "in_proj_bias": "attn.qkv.bias"}
        names |= {"out_proj.weight": "attn.proj.weight", "out_proj.bias": "attn.proj.bias"}
        attention.load_state_dict({key: block[name] for key, name in names.items()})
        normed = nn.functional.layer_norm(tokens, (128,), block["norm1.weight"], block["norm1.bias"], 1e-6)
        tokens = tokens + block["ls1.gamma"] * attention(normed, normed, normed, need_weights=False)[0]
        normed = nn.functional.layer_norm(tokens, (128,), block["norm2.weight"], block["norm2.bias"], 1e-6)
        if gated:
            both = normed @ block["mlp.w12.weight"].T + block["mlp.w12.bias"]
            hidden = nn.functional.silu(both[..., :512]) * both[..., 512:]
            hidden = hidden @ block["mlp.w3.weight"].T + block["mlp.w3.bias"]
        else:
            hidden = nn.functional.gelu(normed @ block["mlp.fc1.weight"].T + block["mlp.fc1.bias"])
            hidden = hidden @ block["mlp.fc2.weight"].T + block["mlp.fc2.bias"]
        tokens = tokens + block["ls2.gamma"] * hidden
    expected = nn.functional.layer_norm(tokens[:, 0], (128,), state["norm.weight"], state["norm.bias"], 1e-6)
    network = VisionTransformer(state)
    assert torch.allclose(network(images), expected, rtol=1e-4, atol=1e-4) and network.depth == 2


def test_dinov2_as_an_extractor(tmp_path: Path) -> None:
    save_file(transformer(384, 1, False), tmp_path / "dino.safetensors")
    extractor = OFFERS["dinov2-vit-s-14"].with_weights(tmp_path / "dino.safetensors")
    features, probabilities = extractor(torch.randint(0, 256, (2, 1, 30, 30), dtype=torch.uint8))
    assert features.shape == (2, extractor.size) and probabilities is None


def test_given_weights_reach_every_process_of_a_run(ganbench: Any, tmp_path: Path) -> None:
    """CLIP's smallest shape stands for any of them: the point is the way of the file."""
    torch.save(small_clip(), tmp_path / "clip.pth")
    name = f"clip-vit-b-32@{weight_files.digest(tmp_path / 'clip.pth')[:8]}"
    done = ganbench(
        "run",
        *("--plugins", "noise", "--seeds", "1", "--images", "128", "--evaluations", "1", "--samples", "40"),
        *("--extractor", "clip-vit-b-32", "--weights", "clip.pth", "--metrics", "fid"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(str(tmp_path / "clip.pth")) == 1 and f"FID ({name})" in done.stdout
    record = json.loads(next((tmp_path / "ganbench-results").glob("digits/noise/*/record.json")).read_text())
    evaluation = record["identity"]["evaluation"]
    assert evaluation["extractor"] == name and record["values"]["fid"] > 0
    with pytest.raises(UsageError, match="extractor digits-cnn takes no weights"):
        describe_dataset(
            {"dataset": "digits", "extractor": None, "weights": "clip.pth", "metrics": ["fid"], "samples": 20}
        )
