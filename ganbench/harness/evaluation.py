"""One evaluation: samples, their features in one pass, and metric values; the training is left as it was.

How often one evaluates must not change one bit of the final weights, so everything here runs in ``eval_mode``:
global random states, training flags and the default dtype are put back, and the variant's state is
compared with what it was.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from ganbench.harness.checkpoint import capture
from ganbench.harness.metric_values import InvalidOutput, MetricValues, apply
from ganbench.harness.real_data import RealData
from ganbench.harness.serialization import Copy
from ganbench.harness.telemetry import Diverged, Telemetry, nine_digits
from ganbench.metrics import features_of, frechet, frechet_distance, manifold, modes, roc_auc, trace_of_covariance
from ganbench.metrics.intervals import jackknife_sd
from ganbench.metrics.samples import EXTRACTOR_BATCH, quantised
from ganbench.plugin.interfaces import Evidence, Metric, MetricError, NotApplicable, Scores, Side
from ganbench.plugin.variant import Variant, device_of
from ganbench.utils.seeding import Settings, derive, generator, preserved_rng

MOST_SCORED = 2048  # rows of each kind that the discriminator scores


@contextlib.contextmanager
def eval_mode(variant: Variant, seed: int) -> Iterator[None]:
    """A block in which a variant is in eval mode, without gradients, and global generators are seeded anew.

    Afterwards modes, generators and the default type are as before.

    Raises InvalidOutput if the block changed the variant's state.
    """
    flags = [(module, module.training) for module in variant.modules()]
    before = Copy(capture(variant))
    dtype = torch.get_default_dtype()
    variant.eval()
    try:
        # An autocast left on in training must not reach the extractor: every variant is scored in one precision.
        kind = device_of(variant).type
        with (
            preserved_rng(seed),
            torch.no_grad(),
            torch.autocast(kind, enabled=False),
            torch.autocast("cpu", enabled=False),
        ):
            yield
    finally:
        torch.set_default_dtype(dtype)
        for module, training in flags:  # one by one: train() would wake parts that an author keeps frozen
            module.training = training
    if not before.equals(capture(variant)):
        raise InvalidOutput(f"{variant.name} changed its own state while it was sampled or scored in eval mode")


def draw_samples(variant: Variant, n: int, seed: int, device: torch.device) -> Tensor:
    """``n`` samples ``(n, *shape)`` in float32, a pure function of weights and seed; raises InvalidOutput."""
    return torch.cat(list(draw_chunks(variant, n, seed, device)))


def draw_chunks(variant: Variant, n: int, seed: int, device: torch.device) -> Iterator[Tensor]:
    """The same, at most ``EXTRACTOR_BATCH`` samples at a time."""
    rng = generator(seed, device)
    for start in range(0, n, EXTRACTOR_BATCH):
        size = min(EXTRACTOR_BATCH, n - start)
        chunk = variant.sample(size, rng)
        expected = (size, *variant.shape)
        dense = isinstance(chunk, Tensor) and chunk.layout is torch.strided and not chunk.is_meta
        if not dense or tuple(chunk.shape) != expected or not chunk.is_floating_point():
            odd = "" if dense or not isinstance(chunk, Tensor) else f", {chunk.layout} on {chunk.device}"
            got = f"{chunk.dtype} {tuple(chunk.shape)}{odd}" if isinstance(chunk, Tensor) else repr(type(chunk))
            raise InvalidOutput(f"{variant.name}.sample({size}) returned {got}: expected floating point {expected}")
        yield chunk.detach().to(device=device, dtype=torch.float32)


class Evaluator:
    """Scores a variant against the real side.

    Args:
        real: the dataset on the variant's device.
        metrics: what is computed; those of cost ``end`` only at the last evaluation.
        seed: the trial's root seed; latents come from its stream ``evaluation``, the same at every point.
        batch_size: of training; the discriminator scores batches of exactly this size.
        settings: of the process, under which features and metrics are computed whatever a variant has set;
            by default those of now. The variant is sampled and scored under its own.
        curve_samples: samples of evaluations before the last, the first of those of the last; None for as many. What
            stability is judged by is computed from so many at the last one too: distances compare at equal numbers.
    """

    def __init__(
        self,
        real: RealData,
        metrics: Sequence[Metric],
        seed: int,
        batch_size: int,
        settings: Settings | None = None,
        curve_samples: int | None = None,
    ) -> None:
        self.real, self.metrics, self.seed, self.batch_size = real, metrics, seed, batch_size
        self.stream = derive(seed, "evaluation")
        self.settings = settings or Settings.now()
        self.curve_samples = curve_samples or real.samples

    def __call__(
        self, variant: Variant, telemetry: Telemetry, images_seen: int, history: list[dict[str, Any]], last: bool
    ) -> tuple[dict[str, Any], Tensor]:
        """The evaluation as the record keeps it, and its samples; raises Diverged for one that is not finite."""
        norms = telemetry.parameter_norms()
        with eval_mode(variant, self.stream):
            raw = self._draw(variant, self.real.samples if last else self.curve_samples)
            evidence, samples = self._evidence(variant, raw, telemetry.step, history)
            watched = evidence
            if len(raw) > self.curve_samples:
                watched, _ = self._evidence(variant, raw[: self.curve_samples], telemetry.step, history)
            with self.settings.hold():
                found = apply([m for m in self.metrics if last or m.cost == "each"], evidence)
                watch = self._stability_inputs(watched)
                spread = self._sampling_sd(evidence) if last else {}
        entry = {
            "step": telemetry.step,
            "images_seen": images_seen,
            "values": found.values,
            **({"faults": found.faults} if found.faults else {}),
            **({"sampling_sd": spread} if spread else {}),
            "watch": {**watch, "parameter_norms": norms, **telemetry.since(history[-1]["step"] if history else 0)},
        }
        if last:
            with self.settings.hold():
                train, fake = features_of(self.real.train_draw), features_of(evidence.fake)
                entry["fid_train"] = frechet_distance(train, fake)
        self.real.keep()
        return entry, samples

    def rescore(self, variant: Variant, step: int, history: list[dict[str, Any]]) -> MetricValues:
        """Metrics of the last evaluation of a variant as it was then, from the same samples.

        Args:
            step: steps of its training.
            history: the evaluations before the last.
        """
        with eval_mode(variant, self.stream):
            evidence, _ = self._evidence(variant, self._draw(variant, self.real.samples), step, history)
            with self.settings.hold():
                return apply(self.metrics, evidence)

    def samples(self, variant: Variant) -> Tensor:
        """The samples that the last evaluation scores, as pictures and points show them."""
        with eval_mode(variant, self.stream):
            return quantised(self._draw(variant, self.real.samples))

    def realness(self, variant: Variant, places: np.ndarray) -> np.ndarray | None:
        """How real the discriminator takes places ``(n, d)`` for: ``(n,)`` from 0 to 1; None without a discriminator.

        It is the probability, where 1/2 is its ``decision_threshold``; a critic, which has none, is told by how its
        scores lie between the lowest and the highest.
        """
        if variant.score_real is None:
            return None
        rows = torch.from_numpy(places).to(device=self.real.device, dtype=torch.float32)
        missing = -len(rows) % self.batch_size  # it judges whole batches
        with eval_mode(variant, self.stream):
            scores = self._score(variant, torch.cat([rows, rows[:1].expand(missing, -1)]))[: len(rows)]
        if not np.isfinite(scores).all():
            return None
        if variant.decision_threshold is not None:
            return np.asarray(expit(scores - variant.decision_threshold))
        return np.asarray((scores - scores.min()) / (np.ptp(scores) or 1.0))

    def _draw(self, variant: Variant, n: int) -> Tensor:
        """The first ``n`` of the samples of the last evaluation, to the bit: drawn with as many others beside them."""
        whole = min(self.real.samples, -(-n // EXTRACTOR_BATCH) * EXTRACTOR_BATCH)
        return draw_samples(variant, whole, self.stream, self.real.device)[:n]

    def _evidence(
        self, variant: Variant, raw: Tensor, step: int, history: list[dict[str, Any]]
    ) -> tuple[Evidence, Tensor]:
        """What metrics may read of samples as the variant gave them, and the samples."""
        if not bool(torch.isfinite(raw).all()):
            raise Diverged(step, "a sample")
        with self.settings.hold():
            samples = quantised(raw)
            described, real = self.real.describe(samples), self.real.reference(len(samples))
        evidence = Evidence(
            fake=described,
            real=real,
            train=lambda: self.real.train,
            dataset=self.real.dataset,
            seed=derive(self.seed, "metrics"),
            scores=self._scores(variant, raw, step),
            history=history,
            variant=variant,
            extractor=self.real.extractor,
            batch_size=self.batch_size,
            held_out=self.real.against == "test",
        )
        return evidence, samples

    def _sampling_sd(self, evidence: Evidence) -> dict[str, float]:
        """By name, the standard deviation of the primary metric over other samples; empty where it has none."""
        fake, name = evidence.fake, self.real.dataset.primary
        primary = [metric for metric in self.metrics if metric.name == name]

        def without(kept: np.ndarray) -> float:
            parts = (fake.samples, fake.features, fake.probabilities)
            samples, features, probabilities = (None if part is None else part[kept[: len(part)]] for part in parts)
            assert samples is not None and features is not None
            some = replace(evidence, fake=Side(samples, features, probabilities, None, fake.device), _known={})
            value = apply(primary, some).values[name]
            return np.nan if value is None else value

        try:
            return {name: nine_digits(jackknife_sd(without, len(fake.samples)))} if primary else {}
        except MetricError:  # too few samples, or a part of them has no score
            return {}

    def _scores(self, variant: Variant, raw: Tensor, step: int) -> Scores | None:
        if variant.score_real is None:
            return None
        sides = {"fake": raw[self._rows(len(raw), "fake")]}
        for split in ("train", "test"):
            index = self._rows(len(self.real.images[split]), split).to(self.real.device)
            sides[split] = self.real.normalised(split, index)
        if not all(len(rows) for rows in sides.values()):
            return None  # fewer rows than one batch
        scores = {name: self._score(variant, rows) for name, rows in sides.items()}
        if not all(np.isfinite(values).all() for values in scores.values()):
            raise Diverged(step, "a score of the discriminator")
        return Scores(**scores, threshold=variant.decision_threshold)

    def _rows(self, total: int, name: str) -> Tensor:
        """Shuffled row numbers, a whole number of batches of them."""
        most = min(total, max(MOST_SCORED, self.batch_size))
        order = torch.randperm(total, generator=generator(derive(self.seed, "evaluation", "rows", name)))
        return order[: most - most % self.batch_size]

    def _score(self, variant: Variant, rows: Tensor) -> np.ndarray:
        scores = []
        for batch in rows.split(self.batch_size):
            score = variant.score_real(batch)
            if not isinstance(score, Tensor) or tuple(score.shape) != (len(batch),):
                got = tuple(score.shape) if isinstance(score, Tensor) else type(score)
                raise InvalidOutput(f"{variant.name}.score_real returned {got}: expected a tensor ({len(batch)},)")
            scores.append(score.detach())
        return torch.cat(scores).cpu().double().numpy()  # one wait for the device, not one a batch

    def _stability_inputs(self, evidence: Evidence) -> dict[str, Any]:
        """What stability is judged by, whatever metrics were chosen."""
        try:
            found = evidence.once(modes.of_evidence)
        except NotApplicable:
            found = {}
        return {
            "fid": evidence.once(frechet.of_evidence),
            "trace": trace_of_covariance(features_of(evidence.real)),
            **{name: found.get(name) for name in ("modes", "mode_kl", "recovered_mass")},
            "coverage": evidence.once(manifold.of_evidence)["coverage"],
            **_discrimination(evidence.scores),
        }


def _discrimination(scores: Scores | None) -> dict[str, Any]:
    names = ("d_auc", "d_auc_train", "d_accuracy_real", "d_accuracy_train", "d_accuracy_fake", "d_scores")
    if scores is None:
        return dict.fromkeys(names)
    accuracy: list[float | None] = [None, None, None]
    if scores.threshold is not None:
        accuracy = [
            float(np.mean(scores.test > scores.threshold)),
            float(np.mean(scores.train > scores.threshold)),
            float(np.mean(scores.fake <= scores.threshold)),
        ]
    summary = {
        name: {"mean": nine_digits(s.mean()), "std": nine_digits(s.std()), "median": nine_digits(np.median(s))}
        for name, s in (("train", scores.train), ("test", scores.test), ("fake", scores.fake))
    }
    aucs = [roc_auc(scores.test, scores.fake), roc_auc(scores.train, scores.fake)]
    return dict(zip(names, [*aucs, *accuracy, summary], strict=True))
