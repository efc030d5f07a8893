"""Building blocks for authors of variants: networks, penalties, spectral normalisation, averaged weights.

A block that two variants need belongs here. A whole model belongs in ``plugins/``,
and what every variant must have in ``plugin``.
"""

from __future__ import annotations

from ganbench.toolkit.averaging import frozen_copy, move_average, warm_decay
from ganbench.toolkit.backbone import BackboneGAN
from ganbench.toolkit.equalized import EqualizedConv2d, EqualizedLinear, MinibatchStdDev, PixelNorm, pyramid
from ganbench.toolkit.networks import (
    Reshape,
    convolutional_discriminator,
    convolutional_generator,
    halvings,
    is_image,
    multilayer_perceptron,
    normal_init,
    require_image,
    size_of,
)
from ganbench.toolkit.penalties import squared_gradient, unit_gradient_penalty
from ganbench.toolkit.spectral import SpectralNorm, spectrally_normalised

__all__ = [
    "BackboneGAN",
    "EqualizedConv2d",
    "EqualizedLinear",
    "MinibatchStdDev",
    "PixelNorm",
    "Reshape",
    "SpectralNorm",
    "convolutional_discriminator",
    "convolutional_generator",
    "frozen_copy",
    "halvings",
    "is_image",
    "move_average",
    "multilayer_perceptron",
    "normal_init",
    "pyramid",
    "require_image",
    "size_of",
    "spectrally_normalised",
    "squared_gradient",
    "unit_gradient_penalty",
    "warm_decay",
]
