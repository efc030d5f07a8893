"""Checks of datasets."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ganbench.conformance import fresh_process
from ganbench.conformance.checking import Suite
from ganbench.conformance.errors import CheckFailed
from ganbench.conformance.process_state import require_unchanged_process
from ganbench.conformance.subjects import Subject
from ganbench.conformance.variant_runner import during, shape_text
from ganbench.discovery.catalog import DiscoveryError
from ganbench.discovery.loader import discover
from ganbench.harness.real_data import content_hash, load_split
from ganbench.plugin.interfaces import Dataset
from ganbench.utils.console import first_few
from ganbench.utils.seeding import seed_everything

DATASETS = Suite("dataset")
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
        raise CheckFailed(f"shape is {d.shape!r}: (channels, height, width) for images, (d,) for points")
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
            raise CheckFailed(f"centres have shape {centres.shape}: (modes, d), of points alone")
        if not d.std or d.std <= 0:
            raise CheckFailed(f"std is {d.std!r}: with centres, the standard deviation of a mode")
    return f"{shape_text(shape)}, {d.classes or 'no'} classes, ranked by {d.primary}, {d.budget_images:,} images"


@DATASETS.check(
    """load("train") and load("test") return what was declared: uint8 images (n, channels, height, width) or finite
    float32 points (n, d), with int64 labels from 0 to classes - 1, every class among them, or None."""
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
                raise CheckFailed(f"load({split!r}) has no sample of class {first_few(list(map(str, missing)))}")
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
    require_unchanged_process(lambda: _load(subject))
