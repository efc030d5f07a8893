"""``ganbench score``: the same metrics for samples that somebody else made."""

from __future__ import annotations

import hashlib
import io
import json
import re
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from safetensors.numpy import save_file

from ganbench.datasets import digits
from ganbench.discovery.entry_points import BLOCKED
from ganbench.extractors import classifier
from ganbench.harness.array_cache import Cache
from ganbench.metrics import (
    FeatureSet,
    bootstrap,
    density_coverage,
    frechet_distance,
    inception_score,
    kernel_distance,
    precision_recall,
)
from ganbench.scoring import meter
from ganbench.scoring.feature_cache import CachedExtractor, CachedStatistics
from ganbench.scoring.samples import Request, load
from ganbench.scoring.score import Options, Scores, score
from ganbench.scoring.untrusted_files import read_arrays
from ganbench.utils.errors import UsageError

TEST, LABELS = digits.ganbench_datasets()[0].load("test")
TRAIN, _ = digits.ganbench_datasets()[0].load("train")
(CNN,) = (one for one in classifier.ganbench_extractors() if one.name == "digits-cnn")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def pictures(folder: Path, images: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        pixels = image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0)
        Image.fromarray(pixels).save(folder / f"{i:04}.png")
    return folder


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def png(image: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, format="PNG")
    return out.getvalue()


def values(found: Scores) -> dict[str, float | None]:
    return {one.name: one.value for one in found.scores}


def features(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = [part.numpy() for part in CNN(torch.from_numpy(images))]
    return found[0], found[1]


def test_scores_are_those_of_the_metrics_and_every_container_gives_the_same(tmp_path: Path) -> None:
    real, fake = TEST[:150], TRAIN[:120]
    (one, _), (two, probabilities) = features(real), features(fake)
    expected = {
        "fid": frechet_distance(one, two),
        "kid": kernel_distance(one, two)[0],
        "is": inception_score(probabilities)[0],
        **precision_recall(one, two),
        **density_coverage(one, two),
    }
    folder = pictures(tmp_path / "real", real)
    np.save(tmp_path / "a.npy", fake)
    np.save(tmp_path / "floats.npy", (fake / 255).astype(np.float32))
    np.save(tmp_path / "last.npy", fake.transpose(0, 2, 3, 1))
    np.savez(tmp_path / "flat.npz", images=fake[:, 0], labels=np.arange(120))
    np.savez_compressed(tmp_path / "only.npz", whatever=fake)
    save_file({"samples": fake}, tmp_path / "b.safetensors")
    archive(tmp_path / "c.zip", {f"inside/{i:04}.png": png(image[0]) for i, image in enumerate(fake)})
    pictures(tmp_path / "fake", fake)
    options = Options(extractor="digits-cnn")
    for name in ("a.npy", "floats.npy", "last.npy", "flat.npz", "only.npz", "b.safetensors", "c.zip", "fake"):
        found = score(str(folder), str(tmp_path / name), options)
        assert values(found) == pytest.approx(expected, rel=1e-12), name
        assert found.about["fake"]["n"] == 120 and found.about["real"]["n"] == 150
        assert {one.label for one in found.scores} >= {"FID (digits-cnn)", "Coverage (digits-cnn)"}
        assert all(one.floor is None for one in found.scores)


def test_a_dataset_has_a_floor_and_its_splits_have_names() -> None:
    found = score("digits", "digits:train", Options())
    floors = {one.name: one.floor for one in found.scores}
    assert values(found).items() - floors.items() == {(name, values(found)[name]) for name in ("fid", "kid", "is")}
    # Both splits hold the same share of each digit, so they are closer than independent draws, which the floor is of.
    assert 0 < values(found)["fid"] < floors["fid"]
    assert found.about["extractor"] == "digits-cnn" and found.about["real"]["n"] == len(TEST)
    assert score("digits:train", "digits", Options(metrics=("fid",))).scores[0].floor is None
    few = score("digits", "digits:train", Options(Request(n=300), metrics=("fid",))).scores[0]
    assert few.floor is not None and few.value is not None and few.floor != few.value
    assert few.floor == pytest.approx(few.value, rel=0.5)


def test_points_and_their_modes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    angles = rng.integers(0, 4, 2000) * np.pi / 4
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) + rng.normal(0, 0.01, (2000, 2))
    np.save(tmp_path / "half.npy", points)
    found = score("ring8", str(tmp_path / "half.npy"), Options(metrics=("modes", "high_quality", "coverage")))
    assert found.about["extractor"] == "identity" and values(found)["modes"] == 4
    assert values(found)["high_quality"] == pytest.approx(0.98889, abs=0.01)
    assert 0.3 < values(found)["coverage"] < 0.6 and found.scores[0].floor == 8


def test_the_table_has_every_digit_and_files_are_written_only_when_asked_for(here: Any, tmp_path: Path) -> None:
    options = ("--real", "digits", "--fake", "digits:train", "--n", "50", "--metrics", "fid,precision")
    before = set(tmp_path.rglob("*"))
    told = here("score", *options)
    assert told.returncode == 0, told.stderr
    assert set(tmp_path.rglob("*")) - before <= {tmp_path / "cache"}
    asked = here("score", *options, "--json", "--out", "scores.json")
    found = json.loads(asked.stdout)
    assert json.loads((tmp_path / "scores.json").read_text()) == found
    for name in ("fid", "precision"):
        about = found["metrics"][name]
        assert repr(about["value"]) in told.stdout and repr(about["floor"]) in told.stdout
        assert about["label"] in told.stdout and about["label"].endswith(" (digits-cnn)")
    assert "\x1b" not in told.stdout + told.stderr
    assert "n = 50 is below 2 d = 64: FID is mostly bias" in told.stderr
    assert found["interval_level"] == 0.95
    fid, precision = found["metrics"]["fid"], found["metrics"]["precision"]
    assert fid["low"] is None and fid["high"] is None  # no bootstrap of it is sound
    assert 0 <= precision["low"] < precision["value"] < precision["high"] <= 1
    assert f"[{precision['low']:.5g}, {precision['high']:.5g}]" in told.stdout and "95% interval" in told.stdout


def test_only_metrics_that_few_samples_bias_are_warned_of() -> None:
    def notes(*metrics: str) -> list[str]:
        return score("digits", "digits:train", Options(Request(n=50), metrics=metrics)).notes

    (both,) = notes("fid", "kid", "fid_inf")
    assert both.startswith("n = 50 is below 2 d = 64: FID, FID∞ are mostly bias")
    assert notes("kid", "precision") == []
    assert score("digits", "digits:train", Options(metrics=("fid",))).notes == []


def test_intervals_are_those_of_the_metrics_own_terms() -> None:
    found = {one.name: one for one in score("digits", "digits:train", Options()).scores}
    assert {name for name, one in found.items() if one.low is not None} == {"is", "precision"}
    assert all((one.low is None) == (one.high is None) for one in found.values())
    _, probabilities = features(TRAIN)
    plain = bootstrap(lambda rows: inception_score(rows)[0], probabilities)
    assert (found["is"].low, found["is"].high) == pytest.approx(plain, rel=0.01)


def test_drawing_fewer_is_seeded() -> None:
    def hashes(seed: int | None) -> tuple[str, str]:
        request = Request(n=40, seed=seed)
        return load("digits", request).hash, load("digits:train", request).hash

    assert hashes(None) == hashes(None) and hashes(1) == hashes(1)
    assert len({*hashes(None), *hashes(1), *hashes(2)}) == 6


REFUSED = {
    "nan.npy": (np.full((9, 8, 8), np.nan), "not finite, the first in sample 0"),
    "signed.npy": (np.linspace(-1, 1, 9 * 64).reshape(9, 8, 8), r"lie in \[0, 1\]; these in \[-1, 1\]"),
    "ints.npy": (np.zeros((9, 8, 8), dtype=np.int64), "images of int64: expected uint8"),
    "four.npy": (np.zeros((9, 4, 8, 8), dtype=np.uint8), "expected images"),
    "either.npy": (np.zeros((9, 3, 8, 3), dtype=np.uint8), "first or last"),
    "plane.npy": (np.zeros((9, 5)), r"expected points \(n, 2\)"),
    "object.npy": (np.array([None, 1]), "cannot be read"),
    "none.npy": (np.zeros((0, 8, 8), dtype=np.uint8), "expected samples"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_arrays_that_are_no_samples_are_refused_with_what_is_expected(tmp_path: Path, name: str) -> None:
    array, message = REFUSED[name]
    np.save(tmp_path / name, array, allow_pickle=True)
    with pytest.raises(UsageError, match=message):
        load(str(tmp_path / name), Request())


def test_pickles_are_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    np.savez(tmp_path / "trap.npz", images=np.array([Trap(), Trap()], dtype=object))
    with pytest.raises(UsageError, match="holds objects"):
        load(str(tmp_path / "trap.npz"), Request())
    assert not (tmp_path / "sprung").exists()


def test_sizes_and_unreadable_files_are_named_and_counted(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "mixed", TEST[:8])
    Image.fromarray(np.zeros((8, 9), dtype=np.uint8)).save(folder / "wide.png")
    with pytest.raises(UsageError, match=r"images of 2 sizes: 8x8 \(0000.png\); 9x8 \(wide.png\).*--size"):
        load(str(folder), Request())
    assert load(str(folder), Request(size=16)).data.shape == (9, 1, 16, 16)
    (folder / "torn.png").write_bytes((folder / "wide.png").read_bytes()[:40])
    (folder / "text.jpg").write_text("no picture")
    Image.fromarray(np.zeros((8, 8), dtype=np.uint16)).save(folder / "deep.png")
    (folder / "out.png").symlink_to(tmp_path / "elsewhere.png")
    (tmp_path / "elsewhere.png").write_bytes(png(TEST[0, 0]))
    with pytest.raises(UsageError, match="3 files cannot be read") as caught:
        load(str(folder), Request())
    for name in ("torn.png", "text.jpg", "out.png (a link that leads out"):
        assert name in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no image"):
        load(str(tmp_path / "empty"), Request())


def test_colour_and_grey_are_compared_in_colour(tmp_path: Path) -> None:
    grey, colour = TEST[:40], np.repeat(TEST[40:80], 3, axis=1)
    pictures(tmp_path / "colour", colour)
    pictures(tmp_path / "grey", grey)
    assert load(str(tmp_path / "grey"), Request()).data.shape[1] == 1
    found = score(str(tmp_path / "grey"), str(tmp_path / "colour"), Options(extractor="pixels", metrics=("fid",)))
    both = score(str(tmp_path / "grey"), str(tmp_path / "grey"), Options(extractor="pixels", metrics=("fid", "is")))
    assert found.scores[0].value > 0 and both.scores[0].value == pytest.approx(0, abs=1e-9)
    assert both.scores[1].value is None and any("the same samples" in note for note in both.notes)


BAD_NAMES = ("/etc/x.png", "../x.png", "a/../../x.png", "a\\..\\x.png", "C:/x.png")


@pytest.mark.parametrize("name", BAD_NAMES)
def test_archives_that_point_outside_are_refused(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path / "bad.zip", {"good.png": png(TEST[0, 0]), name: png(TEST[1, 0])})
    with pytest.raises(UsageError, match="leads out of the archive"):
        load(str(path), Request())


def test_archives_with_links_bombs_and_lies_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(UsageError, match="a link"):
        load(str(tmp_path / "link.zip"), Request())
    bomb = archive(tmp_path / "bomb.zip", {"bomb.png": bytes(1 << 27)})
    with pytest.raises(UsageError, match="not an image of a known format"):
        load(str(bomb), Request())
    np.savez_compressed(tmp_path / "bomb.npz", np.zeros((1 << 20, 8, 8), dtype=np.uint8))
    monkeypatch.setattr("ganbench.datasets.arrays.installed", lambda: 1 << 27)
    with pytest.raises(UsageError, match=r"take 67,108,992 bytes in memory, more than 67,108,864.*numpy\.save"):
        load(str(tmp_path / "bomb.npz"), Request())
    header = io.BytesIO()  # an array that says it is a terabyte
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 40, 8, 8)})
    archive(tmp_path / "lie.npz", {"images.npy": header.getvalue() + bytes(64)})
    with pytest.raises(UsageError, match="shorter than it says"):
        read_arrays(tmp_path / "lie.npz")
    (tmp_path / "lie.npy").write_bytes(header.getvalue() + bytes(64))
    with pytest.raises(UsageError, match="cannot be read"):
        read_arrays(tmp_path / "lie.npy")
    text = json.dumps({"x": {"dtype": "U8", "shape": [1 << 40], "data_offsets": [0, 1 << 40]}}).encode()
    (tmp_path / "lie.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(64))
    with pytest.raises(UsageError, match="cannot be read"):
        read_arrays(tmp_path / "lie.safetensors")
    (tmp_path / "torn.zip").write_bytes(bomb.read_bytes()[:1000])
    with pytest.raises(UsageError, match="cannot be read"):
        load(str(tmp_path / "torn.zip"), Request())


def test_requests_that_cannot_be_met_say_so(tmp_path: Path) -> None:
    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(50, 2)))
    np.save(tmp_path / "three.npy", TEST[:3])
    np.save(tmp_path / "large.npy", np.zeros((30, 28, 28), dtype=np.uint8))
    trial = tmp_path / "digits" / "dcgan" / "seed-0-00000000"
    trial.mkdir(parents=True)
    (trial / "record.json").write_text("{}")
    for real, fake, options, message in (
        ("digits", str(tmp_path / "points.npy"), Options(), "not of one kind"),
        ("digits", str(tmp_path / "three.npy"), Options(metrics=("precision",)), "at least 4 rows"),
        ("digits", str(tmp_path / "large.npy"), Options(), r"expects images of shape \(n, 1, 8, 8\)"),
        ("digits", "digits:train", Options(Request(n=5000)), "only 900 samples"),
        ("digits", "digits:train", Options(metrics=("fid", "d_auc")), "d_auc needs variant"),
        ("digits", "digits:train", Options(weights=tmp_path / "three.npy"), "takes no weights"),
        ("digits", "no/such/place", Options(), "there is no file or folder"),
        ("digits", str(tmp_path), Options(), "is a results folder; name the folder of one of its trials"),
        ("digits", "digitz", Options(), "did you mean digits"),
        ("digits", "12345678", Options(), "0 trials"),
        (str(tmp_path / "points.npy"), str(tmp_path / "points.npy"), Options(extractor="kmnist-cnn"), "trained on"),
        (str(tmp_path / "points.npy"), str(tmp_path / "points.npy"), Options(extractor="mnist-cnn"), "expects images"),
    ):
        with pytest.raises(UsageError, match=message):
            score(real, fake, options)


def test_what_is_kept_goes_by_content_and_a_changed_file_is_not_believed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", TRAIN[:120])
    options = Options(cache=True, metrics=("fid",))
    first = score("digits", str(tmp_path / "a.npy"), options)
    assert first.about["cache"]["found"] == 0 and first.about["cache"]["computed"] > 0
    (tmp_path / "a.npy").rename(tmp_path / "b.npy")
    again = score("digits", str(tmp_path / "b.npy"), options)
    assert again.about["cache"]["computed"] == 0 and values(again) == values(first)
    np.save(tmp_path / "b.npy", TRAIN[120:240])  # other pixels under a known name
    other = score("digits", str(tmp_path / "b.npy"), options)
    assert other.about["cache"]["computed"] == 120 and values(other) != values(first)
    for path in (tmp_path / "cache").rglob("features/*"):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    rebuilt = score("digits", str(tmp_path / "b.npy"), options)
    assert rebuilt.about["cache"]["found"] == 0 and values(rebuilt) == values(other)


def test_statistics_of_the_real_side_are_kept_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(400, 150)).astype(np.float32)
    fake = rng.normal(0.1, 1, size=(300, 150)).astype(np.float32)

    def scores(features: FeatureSet) -> dict[str, float]:
        return {"fid": frechet_distance(features, fake), **precision_recall(features, fake)}

    first = FeatureSet(real)
    kept = CachedStatistics(Cache(tmp_path), first)
    expected = scores(first)
    kept.keep()
    second = FeatureSet(real)
    CachedStatistics(Cache(tmp_path), second)
    known = second.export_arrays()
    assert set(known) == {"mean", "covariance", "cholesky", "radii.3"} and scores(second) == expected
    assert all(np.array_equal(known[name], array) for name, array in first.export_arrays().items())
    third = FeatureSet(real + np.float32(1))  # other features find nothing
    CachedStatistics(Cache(tmp_path), third)
    assert third.export_arrays() == {}


def test_a_long_pass_says_how_fast_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(meter, "SECONDS", 0.0)
    clock = meter.Meter()
    metered = meter.MeteredExtractor(CNN, clock)
    with clock.measuring("digits-cnn, a folder"):
        features, probabilities = metered(torch.from_numpy(TEST[:120]))
    assert torch.equal(features, CNN(torch.from_numpy(TEST[:120]))[0]) and len(probabilities) == 120
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("digits-cnn, a folder: 120 images, ") and line.endswith(" images/s")
    assert metered.name == "digits-cnn" and metered.weights_hash == CNN.weights_hash
    assert not metered.learns and not CNN.learns


def test_the_cache_tells_extractors_apart(tmp_path: Path) -> None:
    class Other:
        name, size, weights_hash = "digits-cnn", 32, hashlib.sha256(b"other").hexdigest()
        dear, notes = False, ()

    batch = torch.from_numpy(TEST[:5])
    keys = {
        CachedExtractor(one, Cache(tmp_path), source).key(images)
        for one in (CNN, Other())
        for images in (batch, batch.float())
        for source in ("", "changed")
    }
    assert len(keys) == 8


def test_extractors_and_metrics_of_others_work_here_too(install: Any, ganbench: Any, tmp_path: Path) -> None:
    module = """
from ganbench.plugin import Extractor, Metric, hookimpl


class Mean(Extractor):
    name, size, weights_hash = "mean-grey", 1, "00"

    def __call__(self, batch):
        return batch.float().mean(dim=(1, 2, 3))[:, None], None


class Shift(Metric):
    name, label, direction = "shift", "Shift", "min"

    def __call__(self, evidence):
        return abs(float(evidence.fake.features.mean() - evidence.real.features.mean()))


@hookimpl
def ganbench_extractors():
    return [Mean()]


@hookimpl
def ganbench_metrics():
    return [Shift()]
"""
    site = install("grey-tools", {"grey_tools.py": module}, {"mean-grey": "grey_tools", "shift": "grey_tools"})
    np.save(tmp_path / "a.npy", np.full((20, 4, 4), 10, dtype=np.uint8))
    np.save(tmp_path / "b.npy", np.full((30, 4, 4), 17, dtype=np.uint8))
    names = ("--extractor", "mean-grey", "--metrics", "shift")
    result = ganbench("score", "--real", "a.npy", "--fake", "b.npy", *names, "--json", site=site)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["metrics"]["shift"] == {
        "label": "Shift (mean-grey)",
        "direction": "min",
        "value": 7.0,
        "floor": None,
        "low": None,
        "high": None,
    }
    for factor, value in ((1, 7.0), (2, 14.0)):  # its author left weights_hash as it was
        code = module.replace("batch.float()", f"batch.float().mul({factor})")
        (tmp_path / "greys.py").write_text(code.replace("mean-grey", "other-grey").replace("shift", "other_shift"))
        names = ("--extractor", "other-grey", "--metrics", "other_shift", "--cache", "--plugin-path", "greys.py")
        result = ganbench("score", "--real", "a.npy", "--fake", "b.npy", *names, "--json")
        assert json.loads(result.stdout)["metrics"]["other_shift"]["value"] == value, result.stderr


def test_what_is_scored_is_not_overwritten(ganbench, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", TEST[:20])
    np.save(tmp_path / "b.npy", TRAIN[:20])
    (tmp_path / "link.json").symlink_to("b.npy")
    before = (tmp_path / "b.npy").read_bytes()
    for out in ("b.npy", "link.json"):
        ended = ganbench("score", "--real", "a.npy", "--fake", "b.npy", "--out", out)
        assert ended.returncode == 2 and f"--out {out} is what is to be scored" in ended.stderr
    assert (tmp_path / "b.npy").read_bytes() == before
    about = ("--real", "a.npy", "--fake", "b.npy", "--extractor", "digits-cnn", "--metrics", "fid")
    done = ganbench("score", *about, "--out", "c")
    assert done.returncode == 0 and json.loads((tmp_path / "c").read_text())["metrics"]["fid"]["value"] > 0


def test_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    text = (Path(__file__).parents[2] / "docs/scoring.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "docs/scoring.md", "exec"), {})
    assert "Coverage (identity)" in capsys.readouterr().out


def sprites(folder: Path) -> Path:
    """Pictures that read in two ways: transparent, turned by EXIF, 16 bits of grey."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(24):
        pixels = rng.integers(0, 256, (16, 16, 4), dtype=np.uint8)
        pixels[:8, :, 3] = 0
        exif = Image.Exif()
        exif[0x0112] = 3
        Image.fromarray(pixels).save(folder / f"{i:02}.png", exif=exif)
    return folder


def test_a_path_and_folder_with_that_path_read_the_same_pictures(tmp_path: Path) -> None:
    folder = sprites(tmp_path / "sprites")
    options = Options(Request(n=8), extractor="pixels", metrics=("fid", "precision"))
    found = score(f"folder:{folder}", str(folder), options)
    fid, precision = found.scores
    assert fid.value is not None and fid.floor is not None and fid.value < 3 * fid.floor and precision.value > 0.5
    assert any(": 8 pictures (" in note and "read upright, on white" in note for note in found.notes)
    prepared = load(f"folder:{folder}", Request()).data
    bare = {image.numpy().tobytes() for image in load(str(folder), Request()).data}
    assert len(prepared) == 10 and all(image.numpy().tobytes() in bare for image in prepared)


def test_decoding_as_torch_fidelity_does_is_what_pillow_converts(tmp_path: Path) -> None:
    folder = sprites(tmp_path / "sprites")
    found = load(str(folder), Request(decode="torch-fidelity"))
    expected = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.iterdir())])
    assert (found.data.numpy() == expected.transpose(0, 3, 1, 2)).all()
    assert "24 pictures" in (note := found.said()[0]) and "not read as a viewer shows them" in note
    options = Options(Request(decode="torch-fidelity"), extractor="pixels", metrics=("fid",))
    assert score(str(folder), str(folder), options).about["decode"] == "torch-fidelity"
    with pytest.raises(UsageError, match="name the folder without folder:"):
        load(f"folder:{folder}", Request(decode="torch-fidelity"))
    plain = pictures(tmp_path / "plain", TEST[:5])  # nothing there reads in two ways
    one, other = (load(str(plain), Request(decode=how)) for how in ("shown", "torch-fidelity"))
    assert one.hash == other.hash and not one.notes and not other.notes


def test_a_zip_is_read_as_its_folder_is(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "folder", TEST[:6])
    members = {f"sub\\{path.name}": path.read_bytes() for path in folder.iterdir()}
    members |= {"a/b:c.png": png(TEST[7, 0]), "__MACOSX/x.png": png(TEST[8, 0]), "notes.txt": b"none"}
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        for name, data in [("a/b:c.png", png(TEST[9, 0])), *members.items()]:
            file.writestr(zipfile.ZipInfo(name), data)
    found = load(str(tmp_path / "x.zip"), Request())
    assert (found.data.numpy() == TEST[[7, 0, 1, 2, 3, 4, 5]]).all()  # the later of one name, as unpacking leaves it
    for part in ("1 picture in hidden places", "(__MACOSX/x.png)", "1 other file (notes.txt)", "1 file replaced by"):
        assert part in found.notes[0]


def test_bfloat16_is_read(tmp_path: Path) -> None:
    values = torch.linspace(0, 1, 2 * 8 * 8).reshape(2, 8, 8).bfloat16()
    safetensors.torch.save_file({"images": values}, tmp_path / "x.safetensors")
    expected = np.rint(values.double().numpy() * 255).astype(np.uint8)
    assert (load(str(tmp_path / "x.safetensors"), Request()).data[:, 0].numpy() == expected).all()


def test_a_name_is_a_name_and_a_path_has_a_separator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "digits", TEST[:12])
    pictures(tmp_path / "0badcafe", TEST[:12])
    pictures(tmp_path / "a,b", TEST[:12])
    named, path = load("digits", Request()), load("./digits", Request())
    assert (named.split, path.split, len(path.data)) == ("test", None, 12)
    assert named.notes == ["digits is a dataset; the folder of that name is ./digits"] and not path.notes
    assert load("digits:train", Request()).notes == [] and load("0badcafe", Request()).hash == path.hash
    assert load("a,b", Request()).hash == path.hash
    for text, message in (
        ("nowhere", "there is no file or folder nowhere, and there is no dataset 'nowhere'"),
        ("FashionMNIST", "did you mean fashion-mnist"),
        ("CIFAR-10", "did you mean cifar10"),
        ("./nowhere", "there is no file or folder ./nowhere$"),
    ):
        with pytest.raises(UsageError, match=message):
            load(text, Request())


def test_a_dataset_that_cannot_be_used_is_not_replaced_by_a_folder_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(BLOCKED, "mnist")
    folder = pictures(tmp_path / "mnist", TEST[:12])
    with pytest.raises(UsageError, match=r"blocked by --no-plugin.*the folder of that name is \./mnist$"):
        load("mnist", Request())
    assert load("./mnist", Request()).hash == load(str(folder), Request()).hash
