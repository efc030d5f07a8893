"""Checks of extractors."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from ganbench.conformance.checking import Suite
from ganbench.conformance.errors import CheckFailed, NotChecked
from ganbench.conformance.process_state import require_unchanged_process
from ganbench.conformance.subjects import Subject
from ganbench.conformance.variant_runner import BATCH, IMAGES, POINTS, during, shape_text
from ganbench.plugin.interfaces import Extractor
from ganbench.utils.seeding import generator, seed_everything

EXTRACTORS = Suite("extractor")


def _inputs() -> dict[str, Tensor]:
    rng = generator(0)
    found = {shape_text(s): torch.randint(256, (BATCH, *s), generator=rng, dtype=torch.uint8) for s in IMAGES}
    return {**found, shape_text(POINTS): torch.randn(BATCH, *POINTS, generator=rng)}


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
    require_unchanged_process(lambda: _accepted(subject.thing))
