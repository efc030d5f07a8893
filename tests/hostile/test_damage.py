"""Single flipped bits and files cut short: found out, or without effect on what is read.

    pytest -m slow tests/hostile/test_damage.py -s

does it 6,000 times and says what became of each kind of file.
"""

from __future__ import annotations

import hashlib
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganbench.datasets import DatasetError, prepared
from ganbench.extractors.classifier import Classifier, ganbench_extractors
from ganbench.extractors.trained import Trained
from ganbench.harness.array_cache import Cache
from ganbench.harness.checkpoint import capture
from ganbench.harness.serialization import Unreadable, fingerprint, load, save
from ganbench.plugin.gan import GAN
from ganbench.results import rescored
from ganbench.results.records import DamagedRecord, seal, unseal
from ganbench.results.schema import MetricColumn
from ganbench.utils import canonical_json
from ganbench.utils.errors import UsageError
from ganbench.utils.files import cache_folder

SHORT, LONG = 60, 860  # damages of each of the seven kinds of file


class Small(GAN):
    name = "small"

    def build_generator(self) -> torch.nn.Module:
        norm = torch.nn.BatchNorm1d(16)
        return torch.nn.Sequential(torch.nn.Linear(self.latent_dim, 16), norm, torch.nn.Linear(16, 2))

    def build_discriminator(self) -> torch.nn.Module:
        return torch.nn.Linear(2, 1)


class Kind:
    """A kind of file: its content, and what is read from it, as a text that tells two results apart."""

    def __init__(self, path: Path, read: Callable[[], str | None]) -> None:
        self.path, self.content, self.read = path, path.read_bytes(), read
        self.expected = read()
        assert self.expected is not None

    def result(self, content: bytes) -> str:
        self.path.write_bytes(content)
        try:
            found = self.read()
        except (DamagedRecord, Unreadable, DatasetError, UsageError):
            return "found out"
        if found is None:  # it counts as missing, and is made again
            return "found out"
        return "without effect" if found == self.expected else "silently wrong"


def a_record(folder: Path, genuine: dict[str, Any], resealed: Callable[..., bytes]) -> Kind:
    (folder / "record.json").write_bytes(resealed(genuine))
    return Kind(folder / "record.json", lambda: seal(unseal((folder / "record.json").read_bytes())))


def a_rescored(folder: Path, genuine: dict[str, Any], resealed: Callable[..., bytes]) -> Kind:
    record = unseal(resealed(genuine))
    about = MetricColumn(label="X", direction="min", floor=0.25, position=1)
    found = rescored.Rescored(
        record=record.sha256, metrics={"x": about}, values={"x": 2.5}, environment={"python": "3"}
    )
    (folder / rescored.FILE).write_text(rescored.seal(found))
    return Kind(folder / rescored.FILE, lambda: seal(rescored.with_rescored(record, folder)))


def a_state(folder: Path, *_: Any) -> Kind:
    """A checkpoint and a stored state are one format; a checkpoint holds more kinds of value."""
    variant = Small(torch.Size([2]), latent_dim=4)
    value = {"variant": capture(variant), "rng": [torch.get_rng_state()[:64], 1, 2.5, None], "history": [{"fid": 1.5}]}
    save(folder / "checkpoint.safetensors", value)
    return Kind(folder / "checkpoint.safetensors", lambda: fingerprint(load(folder / "checkpoint.safetensors")))


def shipped_weights(folder: Path, *_: Any) -> Kind:
    """Copies of those that come with the package, under the name by which they are known."""
    (known,) = (one for one in ganbench_extractors() if one.name == "digits-cnn")
    path = folder / "digits-cnn.safetensors"
    shutil.copy(known.path, path)

    class Copy(Classifier):
        @property
        def path(self) -> Path:
            return path

    def read() -> str:
        fields = {name: getattr(known, name) for name in ("name", "size", "shape", "classes", "sha256")}
        return hashlib.sha256(b"".join(w.numpy().tobytes() for w in Copy(**fields).weights("cpu").values())).hexdigest()

    return Kind(path, read)


def trained_weights(folder: Path, *_: Any, monkeypatch: pytest.MonkeyPatch) -> Kind:
    """A classifier that was trained on this machine and kept; what is damaged is removed and trained again."""
    from ganbench.extractors import trained

    weights = {"conv1.weight": torch.arange(72.0).reshape(8, 1, 3, 3)}
    key = hashlib.sha256(f"{trained.VERSION}/{trained.SIZE}/2/content".encode()).hexdigest()[:16]
    path = trained._keep(cache_folder("extractors"), f"tiny-cnn-{key}", weights, {"held_out_accuracy": 1.0})
    images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    splits = {"train": (images, torch.zeros(4)), "test": (images, torch.zeros(4))}

    class Again(Exception):
        pass

    def train(*_: Any) -> None:
        raise Again

    monkeypatch.setattr(trained, "_train", train)

    def read() -> str | None:
        try:
            one = Trained(name="tiny-cnn")
            one.obtain(splits, 2, "content")
            return one.weights_hash
        except Again:
            return None

    return Kind(path, read)


def cached_features(folder: Path, *_: Any) -> Kind:
    cache = Cache(folder)
    rng = np.random.default_rng(0)
    cache.put("0" * 64, {"features": torch.from_numpy(rng.normal(size=(20, 8)).astype(np.float32))})

    def read() -> str | None:
        found = cache.get("0" * 64)
        return None if found is None else fingerprint(found)

    return Kind(folder / ("0" * 64), read)


def cached_images(*_: Any) -> Kind:
    rng = np.random.default_rng(0)
    splits = {name: (rng.integers(0, 256, (6, 1, 8, 8), dtype=np.uint8), np.arange(6) % 2) for name in prepared.SPLITS}
    name = prepared.keep("folder", splits, 2)

    def read() -> str | None:
        found = prepared.recall(name)
        if found is None:
            return None
        parts = [part.tolist() for split in prepared.SPLITS for part in found.load(split)]
        return canonical_json.dumps([found.classes, found.shape, parts])

    return Kind(prepared.folder() / f"{name}.safetensors", read)


KINDS: dict[str, Callable[..., Kind]] = {
    "record": a_record,
    "rescored": a_rescored,
    "checkpoint and state": a_state,
    "shipped weights": shipped_weights,
    "trained weights": trained_weights,
    "cached features": cached_features,
    "cached images": cached_images,
}


def damage(kind: Kind, times: int) -> Counter[str]:
    """Half of them flips of one bit, drawn evenly, half of them lengths."""
    rng = random.Random(0)
    found: Counter[str] = Counter()
    size = len(kind.content)
    for i in range(times):
        changed = bytearray(kind.content)
        if i % 2:
            # The beginning says what the rest is: half of the flips are there.
            changed[rng.randrange(min(size, 512) if i % 4 == 1 else size)] ^= 1 << rng.randrange(8)
        else:
            del changed[rng.randrange(size) :]
        found[kind.result(bytes(changed))] += 1
    return found


@pytest.fixture
def make(
    inside: Path, genuine: dict[str, Any], resealed: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Kind]:
    def one(name: str) -> Kind:
        folder = inside / "files"
        folder.mkdir(exist_ok=True)
        more = {"monkeypatch": monkeypatch} if name == "trained weights" else {}
        return KINDS[name](folder, genuine, resealed, **more)

    return one


@pytest.mark.parametrize("name", KINDS)
def test_no_damage_is_silent(name: str, make: Callable[[str], Kind]) -> None:
    found = damage(make(name), SHORT)
    assert found["silently wrong"] == 0 and found["found out"] > SHORT * 0.8, found


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_no_damage_is_silent_in_6000(name: str, make: Callable[[str], Kind]) -> None:
    found = damage(make(name), LONG)
    print(f"\n{name}: {dict(found)}")
    assert sum(found.values()) == LONG and found["silently wrong"] == 0, found


def test_files_of_another_key_are_not_believed(make: Callable[[str], Kind]) -> None:
    kind = make("cached features")
    cache = Cache(kind.path.parent)
    shutil.copy(kind.path, kind.path.parent / ("1" * 64))
    assert cache.get("0" * 64) is not None and cache.get("1" * 64) is None
