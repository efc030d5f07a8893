"""Published protocols by name, so that one word sets everything that a number of theirs depends on.

A name stands for how samples are scored. It is in no record: tables give it to every protocol that scores so, whether
it was asked for by name or option by option, and to no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganbench.results.schema import Record

INCEPTION = ("inception-v3", "inception-v3@6726825d")  # the published weights, downloaded or given as a file


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What a name stands for. How variants are trained (``images``) and which ``metrics`` are computed may differ.

    Attributes:
        about: where it is from, in a few words.
        extractors: names of the network of its features; several for one with the same weights.
        samples: drawn and scored at the end.
        reference: the split that they are compared with.
        dataset: the one that it is for; None for any of images with as many real ones.
        images: the budget that it suggests; None for the dataset's own.
        curve_samples: samples of the evaluations before the end that it suggests; None for what is usual.
        metrics: those that it suggests.
    """

    about: str
    extractors: tuple[str, ...]
    samples: int
    reference: str
    dataset: str | None = None
    images: int | None = None
    curve_samples: int | None = None
    metrics: tuple[str, ...]

    @property
    def fixed(self) -> dict[str, Any]:
        """The options of ``ganbench run`` that the name stands for."""
        dataset = {} if self.dataset is None else {"datasets": (self.dataset,)}
        return {**dataset, "extractor": self.extractors[0], "samples": self.samples, "split": self.reference}

    @property
    def suggested(self) -> dict[str, Any]:
        """Those that it suggests, and another value may take the place of."""
        named = {"images": self.images, "curve_samples": self.curve_samples, "metrics": self.metrics}
        return {name: value for name, value in named.items() if value is not None}


PRESETS = {
    "paper-cifar10": Preset(
        about="FID-50k: 50,000 samples against CIFAR-10's 50,000 training images, as Karras et al. 2020",
        dataset="cifar10",
        extractors=INCEPTION,
        samples=50_000,
        reference="train",
        images=32_000_000,  # 100,000 updates of G with five of D each, of 64 images, as Miyato et al. 2018
        curve_samples=10_000,  # all 50,000 at each of twenty evaluations would be a million passes of Inception
        metrics=("fid", "is", "kid"),
    ),
    "fid10k": Preset(
        about="10,000 samples against 10,000 held-out images, as Lucic et al. 2018 and Kurach et al. 2019",
        extractors=INCEPTION,
        samples=10_000,
        reference="test",
        metrics=("fid", "is", "kid"),
    ),
    "stacked-mnist-1000": Preset(
        about="modes of 1,000 in 26,000 samples and their KL, as Srivastava et al. 2017 and Lin et al. 2018",
        dataset="stacked-mnist",
        extractors=("stacked-mnist-cnn",),
        samples=26_000,
        reference="test",
        metrics=("mode_kl", "modes"),
    ),
}


def preset_of(record: Record) -> str:
    """The name of the preset under which a trial was scored, or ""."""
    evaluation, reference = record.identity.evaluation, record.reference
    dataset = record.identity.trial.dataset
    return preset_name(dataset, evaluation.extractor, evaluation.samples, evaluation.split, reference.real)


def preset_name(dataset: str, extractor: str, samples: int, split: str, compared: float | None = None) -> str:
    """The name of the preset under which scores were made so, or "".

    Args:
        compared: real samples of the reference, where that is known. With fewer than ``samples`` a preset for any
            dataset does not apply. One for a single dataset does: of ``stacked-mnist`` 10,000 real images stand for
            the data in FID and the like, whatever the number of samples whose modes are counted.
    """
    for name, preset in PRESETS.items():
        same = extractor in preset.extractors and (samples, split) == (preset.samples, preset.reference)
        suits = preset.dataset == dataset or (preset.dataset is None and (compared is None or compared >= samples))
        if same and suits:
            return name
    return ""
