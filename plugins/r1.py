"""R1: a penalty on D's gradient at real samples.

Mescheder, Geiger and Nowozin 2018, "Which Training Methods for GANs do actually Converge?", equation 9:
gamma / 2 times the squared gradient norm, under which the two-phase game converges locally. The paper takes
gamma = 10, step sizes of 1e-4 and no momentum. The defaults here were set by hand for budgets of minutes, and a search
kept them (results/tuning).
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor

from ganbench.plugin import Batch, Range, Variant, defaults, hookimpl
from ganbench.toolkit import BackboneGAN, r1_penalty


@defaults(beta1=0.0)
class R1(BackboneGAN):
    """GAN with a penalty on D's squared gradient at real samples, which keeps D smooth where the data are.

    Once G has matched the data, D then has no slope left that could push G away again.
    """

    name = "r1"
    gamma: float

    def __init__(
        self,
        shape: torch.Size,
        gamma: Annotated[float, Range(1e-3, 100.0, log=True), "weight of the penalty"] = 1.0,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, gamma=gamma, **hyperparameters)

    def discriminator_phase(self, real: Batch, fake: Batch) -> Tensor:
        penalty = r1_penalty(lambda x: self.judge(Batch(x)), real.data)
        return super().discriminator_phase(real, fake) + self.gamma * penalty


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [R1]
