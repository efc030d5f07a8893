"""DRAGAN: the gradient penalty near the data.

Kodali et al. 2017, "On Convergence and Stability of GANs": D's gradient is drawn towards norm 1
at real samples moved by noise (uniform, as in their published code; Gaussian in the paper), in the ordinary two-phase
game. The paper takes lambda = 10, with which G collapses on the narrow modes of points. The defaults here were set by
hand, and a search kept them (results/tuning).
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor

from ganbench.plugin import Batch, Range, Variant, hookimpl
from ganbench.toolkit import BackboneGAN, dragan_penalty


class DRAGAN(BackboneGAN):
    """GAN with a penalty that draws the norm of D's gradient around real samples towards 1.

    Sharp gradients there go with mode collapse.
    """

    name = "dragan"
    penalty: float

    def __init__(
        self,
        shape: torch.Size,
        penalty: Annotated[float, Range(0.01, 100.0, log=True), "lambda: weight of the penalty"] = 1.0,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, penalty=penalty, **hyperparameters)

    def discriminator_phase(self, real: Batch, fake: Batch) -> Tensor:
        penalty = dragan_penalty(lambda x: self.judge(Batch(x)), real.data)
        return super().discriminator_phase(real, fake) + self.penalty * penalty


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [DRAGAN]
