"""What is trained to calibrate the stability verdict, and what is known of it beforehand.

A setting is a variant with hyperparameters on a dataset at a budget. ``failure`` settings fail by
construction; ``learns`` settings are ordinary variants, of which a run counts as healthy by its score alone
(``judge.healthy``). They have the hyperparameters that were their defaults when thresholds were set: ``THEN``
has those that are others by now.
"""

from __future__ import annotations

from dataclasses import dataclass

SEEDS = range(200, 240)
FEW = range(200, 210)  # of settings that take long
JUDGED = 208  # thresholds may be set on the seeds before it, and are judged on those from it on

THEN = {
    "dcgan": ("lr=0.001", "beta1=0.5"),
    "gmm": ("components=25", "dimensions=64", "regularisation=1e-06"),
    "lsgan": ("lr=0.0011", "beta1=0.9", "decay=0.6"),
    "minimax": ("lr=0.0012", "beta1=0.55", "decay=0.4"),
    "r1": ("lr=0.005", "beta1=0.75", "decay=0.4", "gamma=0.3"),
    "relativistic": ("lr=0.001", "beta1=0.5", "decay=0.5"),
    "vanilla": ("lr=0.001", "beta1=0.5"),
}


@dataclass(frozen=True)
class Setting:
    """One row of the calibration.

    Truths: ``failure``, ``learns``, and ``converges``, a game of which that is proved.

    Attributes:
        truth: one of the three above.
        sets: whether its first seeds may set thresholds; else it is held out altogether.
        images: budget.
        at: share of the budget after which it fails, where it fails abruptly at one moment.
    """

    truth: str
    variant: str
    dataset: str
    images: int
    options: tuple[str, ...] = ()
    sets: bool = True
    seeds: range = SEEDS
    at: float | None = None

    @property
    def name(self) -> str:
        text = f"[{','.join(self.options)}]" if self.options else ""
        return f"{self.variant}{text} on {self.dataset}"


def _plant(kind: str, dataset: str, images: int, *options: str, at: float | None = None) -> Setting:
    return Setting("failure", f"planted-{kind}", dataset, images, options, at=at)


def _learning(dataset: str, images: int, variants: str, sets: bool, seeds: range = SEEDS) -> list[Setting]:
    return [Setting("learns", name, dataset, images, sets=sets, seeds=seeds) for name in variants.split()]


def _clothes(variant: str, width: int) -> Setting:
    """On 28x28 images, with few channels to be quick."""
    truth, at = ("failure", 0.5 if "collapse" in variant else None) if "planted" in variant else ("learns", None)
    return Setting(truth, variant, "fashion-mnist", 51_200, (f"width={width}",), sets=False, seeds=FEW, at=at)


SETTINGS = [
    _plant("nan", "digits", 12_800, at=0.5),
    _plant("blowup", "digits", 25_600),
    _plant("blowup", "digits", 25_600, "network=discriminator"),
    _plant("dominated", "digits", 12_800, "lr=0.001"),  # D's step size times 100
    _plant("dominated", "digits", 12_800, "lr=1e-05"),  # G's divided by 100
    _plant("unconstrained", "digits", 32_000),
    _plant("collapse", "digits", 32_000, at=0.5),
    _plant("collapse", "digits", 32_000, "at=0.8", at=0.8),
    _plant("classes", "digits", 32_000, "until=0.9"),
    _plant("classes", "digits", 32_000),
    _plant("classes", "digits", 32_000, "at=0.0", "shown=5"),  # half of the classes are never there
    _plant("collapse", "digits", 32_000, "at=0.95", at=0.95),  # seen by the last evaluation alone, or the last two
    *_learning("digits", 16_000, "dcgan r1 lsgan wgan-gp", sets=True),
    *_learning("digits", 64_000, "vanilla", sets=True),
    _plant("blowup", "ring8", 25_600),
    _plant("dominated", "ring8", 100_000, "lr=0.001"),  # at a quarter of it D has not run away yet in every run
    _plant("dominated", "ring8", 25_600, "lr=1e-05"),
    _plant("unconstrained", "ring8", 50_000),
    _plant("collapse", "ring8", 100_000, at=0.5),
    _plant("collapse", "ring8", 100_000, "points=2", at=0.5),
    _plant("classes", "ring8", 100_000, "at=0.0", "shown=4"),
    _plant("collapse", "ring8", 100_000, "at=0.95", at=0.95),
    _plant("dirac", "ring8", 50_000),  # cycles
    _plant("dirac", "ring8", 200_000),
    _plant("dirac", "ring8", 50_000, "updates=simultaneous"),  # grows
    Setting("converges", "planted-dirac", "ring8", 50_000, ("gamma=1.0",)),
    *_learning("ring8", 200_000, "r1", sets=True),
    *_learning("digits", 16_000, "minimax sngan relativistic vae gmm", sets=False),
    *_learning("ring8", 200_000, "relativistic", sets=False),
    Setting("failure", "planted-collapse", "grid25", 200_000, sets=False, seeds=FEW, at=0.5),
    *_learning("grid25", 400_000, "sngan relativistic", sets=False, seeds=FEW),
    _clothes("sngan", 16),
    _clothes("planted-collapse", 8),
]
