"""The control: the plain non-saturating GAN on the networks that the loss variants share, with nothing added.

Goodfellow et al. 2014, section 3. What a loss or a penalty is worth shows against this, and not against ``vanilla``,
whose networks and step sizes differ. Step size, its decay and momentum are what a search chose (results/tuning).
"""

from __future__ import annotations

from ganbench.plugin import Variant, defaults, hookimpl
from ganbench.toolkit import BackboneGAN


@defaults(lr=6e-4, beta1=0.0064, decay=0.26)
class Control(BackboneGAN):
    """GAN with the standard loss on the networks and the step size schedule of all variants that change a loss."""

    name = "control"


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [Control]
