"""Checks of datasets and extractors."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganbench.conformance import fresh_process
from ganbench.conformance.bench import BATCH, IMAGES, POINTS, during, few, written
from ganbench.conformance.checking import Suite
from ganbench.conformance.errors import CheckFailed, NotChecked
from ganbench.conformance.subject import Subject
from ganbench.conformance.surroundings import changed_surroundings
from ganbench.discovery.catalog import DiscoveryError
from ganbench.discovery.loader import discover
from ganbench.harness.real_data import content_hash, load_split
from ganbench.plugin.interfaces import Dataset, Extractor
from ganbench.utils.seeding import generator, seed_everything

DATASETS = Suite("dataset")
EXTRACTORS = Suite("extractor")
MOST_SHARED = 0.1  # of held-out rows that may be training rows too


def _load(subject: Subject) -> dict[str, tuple[Tensor, Tensor | None]]:
    with during("load"):
        return {split: load_split(subject.thing, split) for split in ("train", "test")}


@DATASETS.check(
    """Variants, extractors and ranks follow from what a dataset says of itself before anything is loaded: shape,
    classes, the metric that ranks, the budget of a trial, and the true modes of points if they are known."""
)
def declares_itself(subject: Subject) -> str:
    d: Dataset = subject.thing
    shape = tuple(d.shape)
    if len(shape) not in (1, 3) or not all(type(side) is int and side > 0 for side in shape):
        raise CheckFailed(f"shape is {d.shape!r}: (channels, height, width) for images, (2,) for points")
    if type(d.budget_images) is not int or d.budget_images < 1:
        raise CheckFailed(f"budget_images is {d.budget_images!r}: a whole number of images")
    if d.classes is not None and (type(d.classes) is not int or d.classes < 2):
        raise CheckFailed(f"classes is {d.classes!r}: a whole number above 1, or None without labels")
    try:
        discover([("metric", d.primary)]).get("metric", d.primary)
    except DiscoveryError as reason:
        raise CheckFailed(f"primary: {reason}") from None
    if d.centres is not None:
        centres = np.asarray(d.centres)
        if len(shape) == 3 or centres.ndim != 2 or centres.shape[1:] != shape:
            raise CheckFailed(f"centres have shape {centres.shape}: (modes, 2), of points alone")
        if not d.std or d.std <= 0:
            raise CheckFailed(f"std is {d.std!r}: with centres, the standard deviation of a mode")
    return f"{written(shape)}, {d.classes or 'no'} classes, ranked by {d.primary}, {d.budget_images:,} images"


@DATASETS.check(
    """load("train") and load("test") return what was declared: uint8 images (n, channels, height, width) or finite
    float32 points (n, 2), with int64 labels from 0 to classes - 1, every class among them, or None."""
)
def splits_as_declared(subject: Subject) -> str:
    d: Dataset = subject.thing
    sizes = []
    for split, (data, labels) in _load(subject).items():
        if data.is_floating_point() and not bool(torch.isfinite(data).all()):
            raise CheckFailed(f"load({split!r}) returns points that are not finite")
        if (labels is None) != (d.classes is None):
            raise CheckFailed(
                f"load({split!r}) returns {'no labels' if labels is None else 'labels'}, and classes is {d.classes}"
            )
        if labels is not None and d.classes is not None:
            there = set(labels.unique().tolist())
            if there - set(range(d.classes)):
                raise CheckFailed(
                    f"load({split!r}) returns labels from {min(there)} to {max(there)}: 0 to {d.classes - 1}"
                )
            if missing := sorted(set(range(d.classes)) - there):
                raise CheckFailed(f"load({split!r}) has no sample of class {few(list(map(str, missing)))}")
        sizes.append(f"{len(data):,} {split}")
    return ", ".join(sizes)


@DATASETS.check(
    """The SHA-256 of both splits is part of every record: load returns the same values each time, in every process,
    whatever the global generators hold. Draw from a generator that you seed."""
)
def deterministic_content(subject: Subject) -> str:
    seed_everything(1)
    first = content_hash(_load(subject))
    seed_everything(2)
    if content_hash(_load(subject)) != first:
        raise CheckFailed("two calls of load return other data: seed a generator of your own, np.random.RandomState(0)")
    if subject.distribution and fresh_process.hash_elsewhere(subject.name) != first:
        raise CheckFailed("a fresh process loads other data (a set or dict of hashes, a time, a file that changes?)")
    return f"sha256 {first[:16]}"


@DATASETS.check(
    f"""Scores compare samples with held-out data. If more than {MOST_SHARED:.0%} of the held-out rows are training rows
    too, a variant that copies its training data wins."""
)
def held_out_is_held_out(subject: Subject) -> str:
    splits = _load(subject)
    rows = {split: [row.tobytes() for row in data.numpy()] for split, (data, _) in splits.items()}
    known = set(rows["train"])
    shared = sum(row in known for row in rows["test"]) / len(rows["test"])
    if shared > MOST_SHARED:
        raise CheckFailed(
            f"{shared:.0%} of the held-out rows are training rows too: load('test') must return other ones"
        )
    return f"{shared:.2%} of the held-out rows are training rows too"


@DATASETS.check(
    """Loading runs in the process that trains: it leaves settings and global random states as they were, or it changes
    the weights of whatever is trained afterwards."""
)
def no_global_state_changed(subject: Subject) -> None:
    changed_surroundings(lambda: _load(subject))


def _inputs() -> dict[str, Tensor]:
    rng = generator(0)
    found = {written(s): torch.randint(256, (BATCH, *s), generator=rng, dtype=torch.uint8) for s in IMAGES}
    return {**found, written(POINTS): torch.randn(BATCH, *POINTS, generator=rng)}


def _accepted(extractor: Extractor) -> dict[str, tuple[Tensor, Tensor, Any]]:
    """What the extractor takes, with features and probabilities of it; raises CheckFailed if it takes nothing."""
    if extractor.learns:
        raise NotChecked("it is trained on the dataset that it is used with")
    found, reasons = {}, []
    for name, batch in _inputs().items():
        try:
            with torch.no_grad():
                answer = extractor(batch)
        except Exception as reason:
            reasons.append(f"{name}: {type(reason).__name__}: {reason}"[:120])
            continue
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise CheckFailed(f"of {name} it returns {type(answer).__name__}: (features, probabilities or None)")
        found[name] = (batch, torch.as_tensor(answer[0]), answer[1])
    if not found:
        raise CheckFailed(f"it takes no images from 8x8x1 to 64x64x3 and no points: {'; '.join(reasons)}")
    return found


@EXTRACTORS.check(
    """size is checked against FID's bias, and weights_hash is part of every record: two extractors with other weights
    must never be compared, so it is the hex SHA-256 of whatever decides the output."""
)
def declares_its_weights(subject: Subject) -> str:
    e: Extractor = subject.thing
    if type(e.size) is not int or e.size < 1:
        raise CheckFailed(f"size is {e.size!r}: the number of features of a sample")
    if not isinstance(e.weights_hash, str) or not re.fullmatch("[0-9a-f]{64}", e.weights_hash):
        raise CheckFailed(f"weights_hash is {e.weights_hash!r}: 64 hex digits, hashlib.sha256(...).hexdigest()")
    return f"{e.size} features, weights {e.weights_hash[:8]}"


@EXTRACTORS.check(
    """It is called with uint8 images (n, channels, height, width), or with float32 points (n, 2), and returns finite
    features (n, size) and class probabilities (n, classes) that sum to 1, or None. What does not suit it raises."""
)
def features_as_declared(subject: Subject) -> str:
    found = _accepted(subject.thing)
    for name, (batch, features, probabilities) in found.items():
        if tuple(features.shape) != (len(batch), subject.thing.size) or not features.is_floating_point():
            raise CheckFailed(
                f"of {name} it returns features {features.dtype} {tuple(features.shape)}: floating point "
                f"({len(batch)}, {subject.thing.size})"
            )
        if not bool(torch.isfinite(features).all()):
            raise CheckFailed(f"of {name} it returns features that are not finite")
        if probabilities is not None:
            p = torch.as_tensor(probabilities)
            if p.dim() != 2 or len(p) != len(batch) or not torch.allclose(p.sum(1), torch.ones(len(p)), atol=1e-4):
                raise CheckFailed(
                    f"of {name} it returns probabilities {tuple(p.shape)} that do not sum to 1: use softmax"
                )
    return ", ".join(found)


@EXTRACTORS.check(
    """Scores are exact to the last bit where nothing changed: the same samples have the same features, whatever the
    global generators hold. No dropout, no training mode."""
)
def deterministic_features(subject: Subject) -> None:
    seed_everything(1)
    first = _accepted(subject.thing)
    seed_everything(2)
    for name, (_, features, _) in _accepted(subject.thing).items():
        if not torch.equal(features, first[name][1]):
            raise CheckFailed(f"of {name} it returns other features at a second call: eval mode, and no random draws")


@EXTRACTORS.check(
    """Samples are sent in chunks: the features of a row must not depend on the rows beside it (batch statistics,
    sorting, scaling by the maximum of a batch)."""
)
def rows_by_themselves(subject: Subject) -> None:
    for name, (batch, features, _) in _accepted(subject.thing).items():
        with torch.no_grad():
            alone = torch.cat([torch.as_tensor(subject.thing(row)[0]) for row in batch[:3].split(1)])
        scale = float(features.abs().max()) or 1.0
        if float((alone - features[:3]).abs().max()) > 1e-4 * scale:
            raise CheckFailed(f"of {name} a row alone has other features than among others")


@EXTRACTORS.check(
    """smoothness compares images that were not rounded: float32 images in [0, 255] with whole values have the features
    of the same uint8 images."""
)
def bytes_and_floats_agree(subject: Subject) -> None:
    for name, (batch, features, _) in _accepted(subject.thing).items():
        if batch.dtype != torch.uint8:
            continue
        with during(f"given float32 images of {name}, __call__"), torch.no_grad():
            found = torch.as_tensor(subject.thing(batch.float())[0])
        scale = float(features.abs().max()) or 1.0
        if float((found - features).abs().max()) > 1e-4 * scale:
            raise CheckFailed(f"of {name} it gives other features for float32 images in [0, 255] than for uint8 ones")


@EXTRACTORS.check(
    """Features are computed in the process that trains: settings and global random states stay as they were, or scoring
    changes what is trained."""
)
def leaves_the_process_alone(subject: Subject) -> None:
    changed_surroundings(lambda: _accepted(subject.thing))
