"""What a trial is: one variant, one dataset, one seed, one protocol; and the two hashes that identify it.

The *trial* hash covers what makes the weights, the *evaluation* hash what makes the numbers from the
weights. Scores may be compared where the protocol is the same: the evaluation hash (of what the last
evaluation depends on) with budget, batch size, precision and engine. Which metrics were chosen is in neither.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from msgspec import UNSET
from msgspec.structs import asdict

from ganbench.results.schema import EvaluationIdentity, Identity, Record, Role, TrialIdentity

# Rises when the harness, GAN or the toolkit change the weights that a trial trains.
SCHEMA = 1
# Rises when a constant of a built-in metric changes (k, splits, ddof, subsets, chunk sizes of sampling), or what ranks
# variants, or when evaluations happen. 2: points are ranked by recovered mass and stacked sets by mode_kl, in place of
# coverage and modes, and evaluations are no longer evenly spaced.
METRICS_VERSION = 2
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
        samples: samples drawn and scored at the last evaluation.
        curve_samples: the same at the others; None for as many.
        evaluations: scored points after the untrained one, the last at the end (``training.evaluation_steps``).
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
    curve_samples: int | None = None


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
    def trial(self) -> TrialIdentity:
        """What makes the weights."""
        return TrialIdentity(
            schema=SCHEMA,
            variant=self.variant,
            distribution=self.distribution,
            source=self.source,
            hyperparameters=self.hyperparameters,
            dataset=self.dataset,
            dataset_hash=self.dataset_hash,
            seed=self.seed,
            budget_images=self.protocol.budget_images,
            batch_size=self.protocol.batch_size,
            precision=self.protocol.precision,
            engine=self.protocol.engine,
            device=self.protocol.device,
        )

    @cached_property
    def evaluation(self) -> EvaluationIdentity:
        """What makes the numbers from the weights."""
        return EvaluationIdentity(
            extractor=self.protocol.extractor,
            extractor_hash=self.protocol.extractor_hash,
            split=self.protocol.split,
            samples=self.protocol.samples,
            evaluations=self.protocol.evaluations,
            metrics_version=METRICS_VERSION,
            curve_samples=self.protocol.curve_samples or UNSET,
        )

    @cached_property
    def identity(self) -> Identity:
        """Both parts with their hashes."""
        return Identity.of(self.trial, self.evaluation)

    @property
    def id(self) -> str:
        return self.identity.id

    @classmethod
    def from_identity(cls, identity: Identity) -> TrialSpec:
        """The spec with that identity, as a record holds it."""
        both = {**asdict(identity.trial), **asdict(identity.evaluation)}
        both["curve_samples"] = identity.evaluation.curve_samples or None
        protocol = Protocol(**{f.name: both[f.name] for f in fields(Protocol)})
        return cls(**{f.name: both[f.name] for f in fields(cls) if f.name != "protocol"}, protocol=protocol)

    def payload(self) -> dict[str, Any]:
        """As JSON, for a process that will run it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_payload(cls, payload: dict[str, Any]) -> TrialSpec:
        return cls(**{**payload, "protocol": Protocol(**payload["protocol"])})


@dataclass(frozen=True)
class Planned:
    """One trial to be run, and what its record says beside the spec.

    Attributes:
        device: where it is described; where there are several of that kind, its job leases one of them.
        needs: the installed packages that bring its variant, dataset, extractor and metrics.
        conditional, true_family: as ``Record`` has them.
    """

    spec: TrialSpec
    label: str
    role: Role
    primary: str
    metrics: dict[str, dict[str, Any]]
    environment: dict[str, Any]
    device: str
    needs: tuple[str, ...] = ()
    conditional: bool = False
    true_family: bool = False

    @property
    def title(self) -> str:
        return f"{self.label} on {self.spec.dataset}, seed {self.spec.seed}"

    def changed_metrics(self, record: Record) -> list[str]:
        """The metrics asked for whose values in a record are those of other code."""
        return [
            name
            for name, about in self.metrics.items()
            if name in record.metrics and record.metrics[name].source not in (UNSET, about.get("source"))
        ]
