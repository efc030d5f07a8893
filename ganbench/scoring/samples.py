"""Loads samples from what the user names: a folder or archive of images, an array, a dataset, a trained variant."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganbench.datasets.pictures import Listing, Unreadable, list_folder, plain_file, remarks
from ganbench.discovery.loader import Catalog, DiscoveryError, discover
from ganbench.harness import environment
from ganbench.harness.evaluation import draw_samples, eval_mode
from ganbench.harness.real_data import load_split, rows
from ganbench.harness.stored_trial import load_variant, needed_plugins, read_trial
from ganbench.metrics.samples import quantised
from ganbench.plugin.interfaces import Dataset
from ganbench.plugin.variant import device_of
from ganbench.results.store import locate, takes_name, typed_path
from ganbench.scoring.untrusted_files import MOST_MEMBER, images_in_zip, read_arrays, read_image
from ganbench.utils.errors import UsageError, in_words
from ganbench.utils.files import read_plain
from ganbench.utils.names import is_path
from ganbench.utils.seeding import derive

NAMED = 5  # files that an error names; it counts the others
FILES = (".npz", ".npy", ".safetensors")
STREAMS = {"train": "train", "test": "reference"}  # by which evaluations draw rows of a dataset's splits


@dataclass
class Samples:
    """Samples of one kind.

    Attributes:
        title: what the user called them.
        data: uint8 images ``(n, 1 or 3, height, width)``, or float32 points ``(n, 2)``.
        labels: int64 ``(n,)``, or None.
        dataset, split: where they are of a dataset.
        extractor: what a trained variant was scored with, or None.
        notes: what the user should be told of them.
    """

    title: str
    data: Tensor
    labels: np.ndarray | None = None
    dataset: Dataset | None = None
    split: str | None = None
    extractor: str | None = None
    notes: list[str] = field(default_factory=list)

    @cached_property
    def hash(self) -> str:
        """Hex SHA-256 of the samples as they are scored: after decoding and resizing, in their order."""
        digest = hashlib.sha256(f"{self.data.dtype} {tuple(self.data.shape)}".encode())
        digest.update(self.data.contiguous().view(torch.uint8).numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Request:
    """How samples are read.

    Attributes:
        n: how many; None takes all (of a trained variant: as many as its evaluations drew).
        seed: of which ones, and of a variant's latents; None draws what ``ganbench run`` draws.
        size: side to which images in files are resized; None refuses images of several sizes.
        decode: how images in files are read, one of ``DECODERS``.
        results: folder in which a trial's id is looked up.
    """

    n: int | None = None
    seed: int | None = None
    size: int | None = None
    decode: str = "shown"
    results: Path = Path("results")

    def rows(self, total: int, what: str, stream: str = "score") -> np.ndarray:
        """Which of ``total`` rows are taken, in order; without a seed by a stream of ``real.rows``."""
        if self.n is not None and self.n > total:
            raise UsageError(f"--n {self.n}: there are only {total:,} samples in {what}")
        path = (stream,) if self.seed is None else (stream, self.seed)
        return rows(total, self.n or total, *path).numpy()


def load(text: str, request: Request) -> Samples:
    """The samples that ``text`` names: a file, a folder, a trial's folder or id, a dataset or one split of it.

    Raises:
        UsageError: there is no such thing, or it holds no samples. The message says what to do.
    """
    notes: list[str] = []
    try:
        found = _load(text, request, notes.append)
    except UsageError as reason:  # the user may have meant the path
        raise UsageError("; ".join([str(reason), *notes])) from None
    found.notes[:0] = notes
    return found


def _load(text: str, request: Request, note: Callable[[str], None]) -> Samples:
    if re.fullmatch(r"[0-9a-f]{8}", text):
        folder = locate(text, request.results, note)
        if (folder / "record.json").is_file():
            return _of_trial(text, folder, request)
    name, _ = _split(text)
    catalog = Catalog() if is_path(text) else discover([("dataset", name)])
    if takes_name(text, catalog.means("dataset", name), "a dataset", note):
        return _of_dataset(text, catalog, request)
    path = typed_path(text)
    if path.is_dir():
        if (path / "record.json").is_file():
            return _of_trial(text, path, request)
        if any(path.glob("*/*/seed-*/record.json")):
            raise UsageError(f"{text} is a results folder; name the folder of one of its trials")
        return _of_images(text, *_in_folder(path), request)
    if path.is_file():
        if path.suffix.lower() == ".zip":
            return _of_images(text, *images_in_zip(path), request)
        if path.suffix.lower() in FILES:
            return _of_arrays(text, *read_arrays(path), request)
        raise UsageError(
            f"{text}: expected a folder of images, .zip, {', '.join(FILES)}, a trial's folder or a dataset"
        )
    if is_path(text):
        raise UsageError(f"there is no file or folder {text}")
    try:
        return _of_dataset(text, catalog, request)
    except DiscoveryError as reason:
        raise UsageError(f"there is no file or folder {text}, and {reason}") from None


def _split(text: str) -> tuple[str, str]:
    """A dataset's name and the split of it: the held-out one unless another stands behind the name."""
    name, colon, split = text.rpartition(":")
    return (name, split) if colon and split in STREAMS else (text, "test")


def _in_folder(path: Path) -> tuple[Listing, Callable[[str], bytes]]:
    root = path.resolve()

    def take(name: str) -> bytes:
        try:
            return read_plain(plain_file(root, name), MOST_MEMBER)
        except OSError as reason:
            raise Unreadable(str(reason.strerror)) from None

    return list_folder(path), take


def _of_images(text: str, found: Listing, take: Callable[[str], bytes], request: Request) -> Samples:
    names = found.pictures
    if not names:
        raise UsageError("; ".join([f"there is no image in {text}", *found.in_words()]))
    images, failures = [], []
    frames, otherwise = [], []
    sizes: dict[tuple[int, ...], str] = {}
    for name in (names[row] for row in request.rows(len(names), text)):
        try:
            picture = read_image(io.BytesIO(take(name)), request.size, request.decode)
        except Unreadable as reason:
            failures.append(f"{name} ({reason})")
            continue
        frames += [name] if picture.more_frames else []
        otherwise += [name] if picture.otherwise else []
        sizes.setdefault(picture.pixels.shape[:2], name)
        images.append(picture.pixels)
    if failures:
        more = f"; and {len(failures) - NAMED:,} more" if len(failures) > NAMED else ""
        raise UsageError(
            f"{text}: {len(failures):,} files cannot be read: {'; '.join(failures[:NAMED])}{more}. "
            "Mend them, or move them out of it"
        )
    if len(sizes) > 1:
        named = "; ".join(f"{width}x{height} ({name})" for (height, width), name in list(sizes.items())[:NAMED])
        raise UsageError(f"{text} holds images of {len(sizes)} sizes: {named}. Resize them, or let --size N do it")
    if any(image.shape[2] == 3 for image in images):  # one picture in colour, and all are
        images = [np.broadcast_to(image, (*image.shape[:2], 3)) for image in images]
    data = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy())
    told = [*found.in_words(), *remarks(frames, otherwise, request.decode)]
    return Samples(text, data, notes=[f"{text}: {note}" for note in told])


def _of_arrays(text: str, array: np.ndarray, labels: np.ndarray | None, request: Request) -> Samples:
    if array.ndim < 2 or not len(array):
        raise UsageError(f"{text}: expected samples (n, ...), got shape {tuple(array.shape)}")
    taken = request.rows(len(array), text)
    if labels is not None and (labels.shape != (len(array),) or labels.dtype.kind not in "iu"):
        raise UsageError(f"{text}: labels of {labels.dtype} {labels.shape}: expected {len(array):,} integers")
    chosen = np.asarray(array[taken] if len(taken) < len(array) else array)
    data = _points(text, chosen) if chosen.ndim == 2 else _images(text, chosen)
    if request.size and data.dim() == 4 and data.shape[2:] != (request.size, request.size):
        raise UsageError(f"--size {request.size} is for images in folders and archives; resize {text} yourself")
    return Samples(text, data, None if labels is None else labels[taken].astype(np.int64))


def _points(text: str, array: np.ndarray) -> Tensor:
    if array.shape[1] != 2 or array.dtype.kind != "f":
        raise UsageError(f"{text}: expected points (n, 2) in floating point, got {array.dtype} {array.shape}")
    _finite(text, array)
    return torch.from_numpy(array.astype(np.float32))


def _images(text: str, array: np.ndarray) -> Tensor:
    """uint8 as it is, floats in [0, 1] times 255; channels last or first."""
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[3] in (1, 3):
        if array.shape[1] in (1, 3):
            raise UsageError(f"{text}: images of shape {array.shape}: channels could be first or last")
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        raise UsageError(f"{text}: expected images (n, h, w), (n, h, w, c) or (n, c, h, w), got {array.shape}")
    if array.dtype.kind == "f":
        _finite(text, array)
        if array.min() < 0 or array.max() > 1:
            raise UsageError(
                f"{text}: floating-point images lie in [0, 1]; these in [{array.min():g}, {array.max():g}]: "
                "rescale them, (x + 1) / 2 from [-1, 1], or save them as uint8"
            )
        array = np.rint(array.astype(np.float64) * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise UsageError(f"{text}: images of {array.dtype}: expected uint8, or floating point in [0, 1]")
    # A copy: the file may be mapped, and one channel may have strides that convolutions round by.
    return torch.from_numpy(array.copy())


def _finite(text: str, array: np.ndarray) -> None:
    if not np.isfinite(array).all():
        row = int(np.argmax(~np.isfinite(array).reshape(len(array), -1).all(axis=1)))
        raise UsageError(f"{text}: a value is not finite, the first in sample {row}")


def _of_dataset(text: str, catalog: Catalog, request: Request) -> Samples:
    name, split = _split(text)
    dataset: Dataset = catalog.get("dataset", name).thing
    if request.decode != "shown" and dataset.name.startswith("folder-"):
        raise UsageError(
            f"--decode {request.decode}: {name} was prepared with its pictures as they are shown; "
            "name the folder without folder: to read its pictures otherwise"
        )
    data, labels = load_split(dataset, split)
    chosen = torch.from_numpy(request.rows(len(data), text, STREAMS[split]))
    chosen_labels = None if labels is None else labels[chosen].numpy()
    return Samples(text, data[chosen], chosen_labels, dataset, split, notes=list(dataset.notes))


def _of_trial(text: str, folder: Path, request: Request) -> Samples:
    """Drawn anew from the stored variant, as its evaluations did."""
    record = read_trial(folder)
    trial, evaluation = record.identity.trial, record.identity.evaluation
    variant = load_variant(
        record, folder, discover(needed_plugins(record.identity)), torch.device(environment.select_device(trial.device))
    )
    stream = derive(trial.seed if request.seed is None else request.seed, "evaluation")
    device = device_of(variant)
    try:
        with eval_mode(variant, stream):
            raw = draw_samples(variant, request.n or evaluation.samples, stream, device).cpu()
    except Exception as reason:
        raise UsageError(f"{text}: no samples can be drawn from {variant.name}: {in_words(reason)}") from None
    _finite(text, raw.numpy())
    return Samples(text, quantised(raw), extractor=evaluation.extractor)
