"""Loads samples from what the user names: a folder or archive of images, an array, a dataset, a trained variant."""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ganbench.datasets.arrays import channel_axis
from ganbench.datasets.pictures import Listing, Unreadable, list_folder, opened, outline, plain_file, remarks
from ganbench.discovery.loader import Catalog, DiscoveryError, discover
from ganbench.harness import environment
from ganbench.harness.evaluation import draw_chunks, eval_mode
from ganbench.harness.real_data import STREAMS, load_split, rows
from ganbench.harness.stored_trial import load_variant, needed_plugins, read_trial
from ganbench.metrics.samples import EXTRACTOR_BATCH, quantised
from ganbench.plugin.interfaces import Dataset
from ganbench.plugin.variant import device_of
from ganbench.results.store import DEFAULT_FOLDER, locate, takes_name, typed_path
from ganbench.scoring.meter import SIGN_OF_LIFE
from ganbench.scoring.untrusted_files import MOST_MEMBER, images_in_zip, read_arrays, read_image
from ganbench.utils.console import first_few
from ganbench.utils.errors import UsageError, in_words
from ganbench.utils.files import read_plain, with_remedy
from ganbench.utils.names import is_path
from ganbench.utils.seeding import derive

NAMED = 5  # files that an error names; it counts the others
MOST_CHUNK = 2**24  # numbers of the images that are held at a time; 1,000 images of 64x64 in colour have 12 million
FILES = (".npz", ".npy", ".safetensors")


class Pixels(Protocol):
    """Samples that are read a chunk at a time, as often as they are asked for.

    Attributes:
        shape: ``(n, channels, height, width)`` of uint8 images, or ``(n, 2)`` of float32 points.
    """

    shape: tuple[int, ...]

    def __iter__(self) -> Iterator[Tensor]:
        """Chunks of ``chunk_length`` samples, in order."""


class InMemory:
    """Samples that are held whole."""

    def __init__(self, data: Tensor) -> None:
        self.data, self.shape = data, tuple(data.shape)

    def __iter__(self) -> Iterator[Tensor]:
        yield from self.data.split(chunk_length(self.shape))


class Rows:
    """Chosen rows of an array, such as one in a mapped file, each chunk converted when it is read."""

    def __init__(self, array: np.ndarray, taken: np.ndarray, convert: Callable[[np.ndarray], Tensor]) -> None:
        self.array, self.taken, self.convert = array, taken, convert
        self.shape = (len(taken), *convert(np.asarray(array[taken[:1]])).shape[1:])

    def __iter__(self) -> Iterator[Tensor]:
        for chunk in chunks_of(self.taken, chunk_length(self.shape)):
            yield self.convert(np.asarray(self.array[chunk]))


@dataclass
class PictureFiles:
    """Pictures of a folder or an archive, decoded each time they are read.

    Attributes:
        title: of the folder or archive.
        names: of the pictures, in order.
        take: reads the file of that name.
        shape: of all together; one picture in colour, and all are.
        size, decode: see ``Request``.
        frames, otherwise: pictures of which only the first frame was read, and that another way of decoding would read
            otherwise; known once all were read.
    """

    title: str
    names: list[str]
    take: Callable[[str], bytes]
    shape: tuple[int, ...]
    size: int | None
    decode: str
    frames: list[str] = field(default_factory=list)
    otherwise: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Tensor]:
        self.frames, self.otherwise = [], []
        failures: list[str] = []
        for chunk in chunks_of(self.names, chunk_length(self.shape)):
            images = []
            for name in chunk:
                try:
                    picture = read_image(io.BytesIO(self.take(name)), self.size, self.decode)
                except Unreadable as reason:
                    failures.append(f"{name} ({reason})")
                    continue
                self.frames += [name] if picture.more_frames else []
                self.otherwise += [name] if picture.otherwise else []
                images += [picture.pixels] if not failures else []
            if not failures:  # once one cannot be read, the others are read to name all that cannot
                shape = (*self.shape[2:], self.shape[1])
                pixels = np.stack([np.broadcast_to(image, shape) for image in images])
                yield torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
        refuse_unreadable(self.title, failures)


def chunk_length(shape: tuple[int, ...]) -> int:
    """How many samples of ``(n, ...)`` are read at a time: ``EXTRACTOR_BATCH``, as in a run, or fewer large ones.

    A whole number of times ``SIGN_OF_LIFE``, in which slow networks take images: what they compute stays the same.
    """
    size = math.prod(shape[1:])
    return max(SIGN_OF_LIFE, min(EXTRACTOR_BATCH, MOST_CHUNK // size // SIGN_OF_LIFE * SIGN_OF_LIFE))


def chunks_of(items: Any, length: int) -> Iterator[Any]:
    """Slices of at most ``length`` items."""
    for start in range(0, len(items), length):
        yield items[start : start + length]


def refuse_unreadable(title: str, failures: Sequence[str]) -> None:
    """Raise UsageError, naming the first few, if there are pictures that cannot be read."""
    if failures:
        raise UsageError(
            f"{title}: {len(failures):,} files cannot be read: {first_few(failures, NAMED, '; ')}. "
            "Mend them, or move them out of it"
        )


@dataclass
class Samples:
    """Samples of one kind.

    Attributes:
        title: what the user called them.
        pixels: uint8 images ``(n, 1 or 3, height, width)``, or float32 points ``(n, 2)``.
        labels: int64 ``(n,)``, or None.
        dataset, split: where they are of a dataset.
        extractor: what a trained variant was scored with, or None.
        notes: what the user should be told of them.
        in_colour: grey images are given as RGB.
    """

    title: str
    pixels: Pixels
    labels: np.ndarray | None = None
    dataset: Dataset | None = None
    split: str | None = None
    extractor: str | None = None
    notes: list[str] = field(default_factory=list)
    in_colour: bool = False

    def __len__(self) -> int:
        return self.pixels.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all of them, as they are scored."""
        n, *rest = self.pixels.shape
        return (n, 3, *rest[1:]) if self.in_colour else (n, *rest)

    def __iter__(self) -> Iterator[Tensor]:
        """Chunks in order, as they are scored; the last one also ends the computation of their hash."""
        dtype = torch.uint8 if len(self.shape) == 4 else torch.float32
        digest = hashlib.sha256(f"{dtype} {self.shape}".encode())
        for chunk in self.pixels:
            scored = chunk.expand(-1, 3, -1, -1).contiguous() if self.in_colour else chunk
            digest.update(scored.contiguous().view(torch.uint8).numpy().data)
            yield scored
        self._hash = digest.hexdigest()

    @property
    def hash(self) -> str:
        """Hex SHA-256 of the samples as they are scored: after decoding and resizing, in their order."""
        if self._hash is None:
            for _ in self:
                pass
        assert self._hash is not None
        return self._hash

    _hash: str | None = None

    @property
    def data(self) -> Tensor:
        """All of them in memory."""
        return torch.cat(list(self))

    def said(self) -> list[str]:
        """The notes, with what is known once all were read."""
        if isinstance(self.pixels, PictureFiles):
            told = remarks(self.pixels.frames, self.pixels.otherwise, self.pixels.decode)
            return [*self.notes, *(f"{self.title}: {note}" for note in told)]
        return self.notes


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
    results: Path = Path(DEFAULT_FOLDER)

    def rows(self, total: int, what: str, stream: str = "score") -> np.ndarray:
        """Which of ``total`` rows are taken, in order; without a seed the same ones as a run takes."""
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
    except PermissionError as reason:
        raise UsageError(f"{reason.filename}: {with_remedy(reason)}") from None
    found.notes[:0] = notes
    return found


def _load(text: str, request: Request, note: Callable[[str], None]) -> Samples:
    """Find out what a text names (a trial, a dataset, a folder, an archive, an array) and read its samples."""
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
        if any(next(path.glob(f"{above}seed-*/record.json"), None) for above in ("", "*/", "*/*/")):
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
    """The pictures of a folder or archive as samples; raises UsageError where they differ in size or are unreadable."""
    names = found.pictures
    if not names:
        raise UsageError("; ".join([f"there is no image in {text}", *found.in_words()]))
    chosen = [names[row] for row in request.rows(len(names), text)]
    failures = []
    sizes: dict[tuple[int, int], str] = {}
    channels = 1
    for name in chosen:
        try:
            content = take(name)
            with opened(io.BytesIO(content)) as file:
                found_size, colours = outline(file, request.decode)
            if not sizes:  # the first is decoded now: what no picture of the folder can be read for is told at once
                read_image(io.BytesIO(content), request.size, request.decode)
        except Unreadable as reason:
            failures.append(f"{name} ({reason})")
            continue
        sizes.setdefault(found_size, name)
        channels = max(channels, colours)
    if request.size:
        sizes = {(request.size, request.size): chosen[0]}
    height, width = next(iter(sizes), (1, 1))
    pixels = PictureFiles(text, chosen, take, (len(chosen), channels, height, width), request.size, request.decode)
    if failures:
        failures = []
        for name in chosen:  # once more and whole, to name all that cannot be read
            try:
                read_image(io.BytesIO(take(name)), request.size, request.decode)
            except Unreadable as reason:
                failures.append(f"{name} ({reason})")
        refuse_unreadable(text, failures)
    if len(sizes) > 1:
        named = "; ".join(f"{width}x{height} ({name})" for (height, width), name in list(sizes.items())[:NAMED])
        raise UsageError(f"{text} holds images of {len(sizes)} sizes: {named}. Resize them, or let --size N do it")
    return Samples(text, pixels, notes=[f"{text}: {note}" for note in found.in_words()])


def _of_arrays(text: str, array: np.ndarray, labels: np.ndarray | None, request: Request) -> Samples:
    if array.ndim < 2 or 0 in array.shape:
        raise UsageError(f"{text}: expected samples (n, ...), got shape {tuple(array.shape)}")
    taken = request.rows(len(array), text)
    if labels is not None and (labels.shape != (len(array),) or labels.dtype.kind not in "iu"):
        raise UsageError(f"{text}: labels of {labels.dtype} {labels.shape}: expected {len(array):,} integers")
    pixels = _points(text, array, taken) if array.ndim == 2 else _images(text, array, taken)
    if request.size and len(pixels.shape) == 4 and pixels.shape[2:] != (request.size, request.size):
        raise UsageError(f"--size {request.size} is for images in folders and archives; resize {text} yourself")
    return Samples(text, pixels, None if labels is None else labels[taken].astype(np.int64))


def _points(text: str, array: np.ndarray, taken: np.ndarray) -> Pixels:
    if array.shape[1] != 2 or array.dtype.kind != "f":
        raise UsageError(f"{text}: expected points (n, 2) in floating point, got {array.dtype} {array.shape}")
    with np.errstate(over="ignore"):  # what float32 cannot hold is named below
        chosen = np.asarray(array[taken]).astype(np.float32)
    _finite(text, chosen, taken)
    return InMemory(torch.from_numpy(chosen))


def _images(text: str, array: np.ndarray, taken: np.ndarray) -> Pixels:
    """uint8 as it is, floats in [0, 1] times 255; channels last or first."""
    shape = array.shape
    try:
        last = channel_axis(shape) == 3
    except ValueError as reason:
        raise UsageError(f"{text}: {reason}") from None
    is_float = array.dtype.kind == "f"
    if is_float:
        low, high = np.inf, -np.inf
        for chunk in chunks_of(taken, SIGN_OF_LIFE):
            part = np.asarray(array[chunk])
            _finite(text, part, chunk)
            low, high = min(low, part.min()), max(high, part.max())
        if low < 0 or high > 1:
            raise UsageError(
                f"{text}: floating-point images lie in [0, 1]; these in [{low:g}, {high:g}]: "
                "rescale them, (x + 1) / 2 from [-1, 1], or save them as uint8"
            )
    elif array.dtype != np.uint8:
        raise UsageError(f"{text}: images of {array.dtype}: expected uint8, or floating point in [0, 1]")

    def convert(part: np.ndarray) -> Tensor:
        if part.ndim == 3:
            part = part[:, None]
        elif last:
            part = part.transpose(0, 3, 1, 2)
        if is_float:
            part = np.rint(part.astype(np.float64) * 255).astype(np.uint8)
        # A copy: the file may be mapped, and one channel may have strides that convolutions round by.
        return torch.from_numpy(part.copy(order="C"))

    return Rows(array, taken, convert)


def _finite(text: str, array: np.ndarray, places: np.ndarray) -> None:
    """Raise UsageError for a value that is not finite in float32, naming its sample's place in the file."""
    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if not finite.all():
        raise UsageError(f"{text}: as float32 a value is not finite, the first in sample {places[~finite].min()}")


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
    return Samples(text, InMemory(data[chosen]), chosen_labels, dataset, split, notes=list(dataset.notes))


def _of_trial(text: str, folder: Path, request: Request) -> Samples:
    """Drawn anew from the stored variant, as its evaluations did."""
    record = read_trial(folder)
    trial, evaluation = record.identity.trial, record.identity.evaluation
    variant = load_variant(
        record, folder, discover(needed_plugins(record.identity)), environment.use_device(trial.device)
    )
    stream = derive(trial.seed if request.seed is None else request.seed, "evaluation")
    device = device_of(variant)
    try:
        with eval_mode(variant, stream):
            drawn: list[Tensor] = []
            for chunk in draw_chunks(variant, request.n or evaluation.samples, stream, device):
                raw = chunk.cpu()
                _finite(text, raw.numpy(), np.arange(len(raw)) + sum(map(len, drawn)))
                drawn.append(quantised(raw))
    except UsageError:
        raise
    except Exception as reason:
        raise UsageError(f"{text}: no samples can be drawn from {variant.name}: {in_words(reason)}") from None
    return Samples(text, InMemory(torch.cat(drawn)), extractor=evaluation.extractor)
