"""Building blocks for authors of variants: networks, penalties, spectral normalisation, averaged weights.

A block that two variants need belongs here. A whole model belongs in ``plugins/``,
and what every variant must have in ``plugin``.
"""

from __future__ import annotations

from ganbench.toolkit.attention import SelfAttention
from ganbench.toolkit.augmentation import (
    Augment,
    Augmentation,
    AugmentedGAN,
    adaptive_augmentation,
    differentiable_augmentation,
)
from ganbench.toolkit.averaging import frozen_copy, move_average, warm_decay
from ganbench.toolkit.backbone import BackboneGAN, StepSize, Width
from ganbench.toolkit.conditional import ClassGenerator, ConditionalGAN
from ganbench.toolkit.equalized import EqualizedConv2d, EqualizedLinear, MinibatchStdDev, PixelNorm, pyramid
from ganbench.toolkit.losses import (
    hinge_discriminator_loss,
    hinge_generator_loss,
    least_squares_discriminator_loss,
    least_squares_generator_loss,
    logistic_discriminator_loss,
    logistic_generator_loss,
    relativistic_discriminator_loss,
    relativistic_generator_loss,
    wasserstein_discriminator_loss,
    wasserstein_generator_loss,
)
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
    usual_width,
)
from ganbench.toolkit.penalties import (
    dragan_penalty,
    lazy_weight,
    logits_and_squared_gradient,
    r1_penalty,
    r2_penalty,
    squared_gradient,
    unit_gradient_penalty,
    wgan_gp_penalty,
)
from ganbench.toolkit.residual import (
    ConditionalBatchNorm2d,
    GroupedResidual,
    ProjectionHead,
    ResidualDown,
    ResidualFeatures,
    ResidualGenerator,
    ResidualUp,
    fixup_init,
    orthogonal_init,
)
from ganbench.toolkit.schedules import Schedule, scheduled, set_step_size
from ganbench.toolkit.spectral import SpectralNorm, spectrally_normalised

__all__ = [
    "Augment",
    "Augmentation",
    "AugmentedGAN",
    "BackboneGAN",
    "ClassGenerator",
    "ConditionalBatchNorm2d",
    "ConditionalGAN",
    "EqualizedConv2d",
    "EqualizedLinear",
    "GroupedResidual",
    "MinibatchStdDev",
    "PixelNorm",
    "ProjectionHead",
    "Reshape",
    "ResidualDown",
    "ResidualFeatures",
    "ResidualGenerator",
    "ResidualUp",
    "Schedule",
    "SelfAttention",
    "SpectralNorm",
    "StepSize",
    "Width",
    "adaptive_augmentation",
    "convolutional_discriminator",
    "convolutional_generator",
    "differentiable_augmentation",
    "dragan_penalty",
    "fixup_init",
    "frozen_copy",
    "halvings",
    "hinge_discriminator_loss",
    "hinge_generator_loss",
    "is_image",
    "lazy_weight",
    "least_squares_discriminator_loss",
    "least_squares_generator_loss",
    "logistic_discriminator_loss",
    "logistic_generator_loss",
    "logits_and_squared_gradient",
    "move_average",
    "multilayer_perceptron",
    "normal_init",
    "orthogonal_init",
    "pyramid",
    "r1_penalty",
    "r2_penalty",
    "relativistic_discriminator_loss",
    "relativistic_generator_loss",
    "require_image",
    "scheduled",
    "set_step_size",
    "size_of",
    "spectrally_normalised",
    "squared_gradient",
    "unit_gradient_penalty",
    "usual_width",
    "warm_decay",
    "wasserstein_discriminator_loss",
    "wasserstein_generator_loss",
    "wgan_gp_penalty",
]
