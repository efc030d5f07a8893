"""What a trial is: one variant, one dataset, one seed, one protocol; and the two hashes that identify it.

The *trial* hash covers what makes the weights, the *evaluation* hash what makes the numbers from the
weights. Scores may be compared where the protocol is the same: the evaluation hash with budget, batch
size, precision and engine. Which metrics were chosen is in neither.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from ganbench.utils import canonical_json

# Rises when the harness, GAN or the toolkit change the weights that a trial trains.
SCHEMA = 1
# Rises when a constant of a built-in metric changes (k, splits, ddof, subsets, chunk sizes of sampling).
METRICS_VERSION = 1
# The engines: each trial on its own, or all seeds of a variant in one stacked computation, equal to it up to rounding.
SERIAL, SEEDS = "serial", "seeds"
LANES = 10  # seeds that one computation has room for: seed s stands in lane s % LANES, whoever stands beside it


@dataclass(frozen=True)
class Protocol:
    """Everything beside dataset, variant and seed that decides a score.

    Attributes:
        budget_images: real samples a trial sees.
        batch_size: of training, and of what the discriminator scores.
        device: type of device, ``cpu``, ``cuda`` or ``mps``: each rounds in its own way.
        extractor: name; ``extractor_hash``: SHA-256 of its weights.
        samples: samples drawn and scored at an evaluation.
        evaluations: scored points after the untrained one, evenly spaced.
    """

    budget_images: int
    batch_size: int
    device: str
    extractor: str
    extractor_hash: str
    samples: int
    evaluations: int
    precision: str = "fp32"
    engine: str = SERIAL
    split: str = "test"


@dataclass(frozen=True)
class TrialSpec:
    """One trial: the unit of work, of failure and of record.

    Attributes:
        variant: name; ``distribution``: the installed package that offers it; ``source``: SHA-256 of its code.
        hyperparameters: every one, defaults included.
        dataset: name; ``dataset_hash``: SHA-256 of its content after decoding.
        seed: root of every random stream.
    """

    variant: str
    distribution: str
    source: str
    hyperparameters: dict[str, Any]
    dataset: str
    dataset_hash: str
    seed: int
    protocol: Protocol

    @cached_property
    def trial(self) -> dict[str, Any]:
        """What makes the weights."""
        return {
            "schema": SCHEMA,
            "variant": self.variant,
            "distribution": self.distribution,
            "source": self.source,
            "hyperparameters": self.hyperparameters,
            "dataset": self.dataset,
            "dataset_hash": self.dataset_hash,
            "seed": self.seed,
            "budget_images": self.protocol.budget_images,
            "batch_size": self.protocol.batch_size,
            "precision": self.protocol.precision,
            "engine": self.protocol.engine,
            "device": self.protocol.device,
        }

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """What makes the numbers from the weights."""
        return {
            "extractor": self.protocol.extractor,
            "extractor_hash": self.protocol.extractor_hash,
            "split": self.protocol.split,
            "samples": self.protocol.samples,
            "evaluations": self.protocol.evaluations,
            "metrics_version": METRICS_VERSION,
        }

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Both parts with their hashes, the 8-digit ``protocol`` and the 8-digit ``id`` of the trial's folder."""
        return identify(self.trial, self.evaluation)

    @property
    def id(self) -> str:
        return str(self.identity["id"])

    @classmethod
    def from_identity(cls, identity: dict[str, Any]) -> TrialSpec:
        """The spec with that identity, as a record holds it."""
        trial, evaluation = identity["trial"], identity["evaluation"]
        both = {**trial, **evaluation}
        protocol = Protocol(**{f.name: both[f.name] for f in fields(Protocol)})
        return cls(**{f.name: trial[f.name] for f in fields(cls) if f.name != "protocol"}, protocol=protocol)

    def payload(self) -> dict[str, Any]:
        """As JSON, for a process that will run it."""
        return asdict(self)

    @classmethod
    def from_payload(cls, payload: dict[str, Any]) -> TrialSpec:
        return cls(**{**payload, "protocol": Protocol(**payload["protocol"])})


def identify(trial: dict[str, Any], evaluation: dict[str, Any]) -> dict[str, Any]:
    """Both parts with everything that follows from them."""
    trial_hash, evaluation_hash = canonical_json.sha256(trial), canonical_json.sha256(evaluation)
    comparable = [evaluation_hash, *(trial[k] for k in ("budget_images", "batch_size", "precision", "engine"))]
    return {
        "trial": trial,
        "evaluation": evaluation,
        "trial_hash": trial_hash,
        "evaluation_hash": evaluation_hash,
        "protocol": canonical_json.sha256(comparable)[:8],
        "id": hashlib.sha256(f"{trial_hash}{evaluation_hash}".encode()).hexdigest()[:8],
    }


@dataclass(frozen=True)
class Planned:
    """One trial to be run, and what its record says beside the spec.

    Attributes:
        needs: the installed packages that bring its variant, dataset, extractor and metrics.
    """

    spec: TrialSpec
    label: str
    role: str
    primary: str
    metrics: dict[str, dict[str, Any]]
    environment: dict[str, Any]
    device: str
    needs: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return f"{self.label} on {self.spec.dataset}, seed {self.spec.seed}"
