"""Residual blocks and the initialisations that they need.

Blocks that resample are those of Miyato et al. 2018, appendix B, and Brock et al. 2019, appendix B.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConditionalBatchNorm2d(nn.Module):
    """Batch normalisation whose scale and shift are linear in a condition, such as an embedded class.

    ``y = (1 + A c) x_normalised + B c`` for features ``(n, channels, h, w)`` and a condition ``(n, condition_dim)``
    (de Vries et al. 2017; Brock et al. 2019, appendix B.1).
    """

    def __init__(self, channels: int, condition_dim: int) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm2d(channels, affine=False)
        self.scale = nn.Linear(condition_dim, channels, bias=False)
        self.shift = nn.Linear(condition_dim, channels, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = (f(condition)[:, :, None, None] for f in (self.scale, self.shift))
        return torch.addcmul(shift, self.normalise(x), 1 + scale)


class ResidualUp(nn.Module):
    """A generator's block that doubles the sides: ``(n, inputs, h, w) -> (n, outputs, 2 h, 2 w)``.

    Twice conditional batch normalisation, ReLU and a 3x3 convolution, with nearest neighbours before the first
    convolution; the skip connection is resampled likewise and gets its channels from a 1x1 convolution.
    """

    def __init__(self, inputs: int, outputs: int, condition_dim: int) -> None:
        super().__init__()
        self.first_norm = ConditionalBatchNorm2d(inputs, condition_dim)
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second_norm = ConditionalBatchNorm2d(outputs, condition_dim)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = functional.interpolate(functional.relu(self.first_norm(x, condition)), scale_factor=2.0)
        h = functional.relu(self.second_norm(self.first(h), condition))
        # A 1x1 convolution and nearest neighbours commute: convolving the small map is a quarter of the work.
        return self.second(h) + functional.interpolate(self.skip(x), scale_factor=2.0)


class ResidualDown(nn.Module):
    """A discriminator's block that halves the sides by averaging: ``(n, inputs, h, w) -> (n, outputs, h/2, w/2)``.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        first: whether the input is an image, to which no ReLU is applied.
        downsample: False keeps the sides.
    """

    def __init__(self, inputs: int, outputs: int, first: bool = False, downsample: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1)
        self.takes_image, self.downsample = first, downsample

    def forward(self, x: Tensor) -> Tensor:
        h = x if self.takes_image else functional.relu(x)
        h = self.second(functional.relu(self.first(h)))
        if not self.downsample:
            return h + self.skip(x)
        return functional.avg_pool2d(h, 2) + self.skip(functional.avg_pool2d(x, 2))


class ProjectionHead(nn.Module):
    """A conditional discriminator's logit: ``psi(h) + <embedding of y, h>``, ``(n, features), (n,) -> (n,)``.

    Miyato and Koyama 2018, "cGANs with Projection Discriminator", equation 4: the inner product is the form that the
    log-ratio of p(y given x) takes where both are log-linear.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.unconditional = nn.Linear(features, 1)
        self.embedding = nn.Embedding(classes, features)

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        return self.unconditional(h).flatten() + (self.embedding(y) * h).sum(1)


class GroupedResidual(nn.Module):
    """A residual block without normalisation: 1x1, grouped 3x3 and 1x1 convolutions, ``(n, c, h, w)`` to the same.

    Huang et al. 2024, "The GAN is dead; long live the GAN! A Modern Baseline GAN", section 3.3 (Config E): the
    bottleneck of ResNeXt, inverted. Fix-up initialisation (Zhang et al. 2019, "Fixup Initialization") takes the place
    of normalisation: the last convolution starts at 0, so that the block is the identity at first, and the others are
    scaled by ``blocks^(-1/4)``, so that an update changes the function of ``blocks`` of them as much as that of one.

    Args:
        channels: that come in and go out.
        blocks: residual blocks of the whole network.
        expansion: channels inside, relative to ``channels``.
        group: channels of a group of the 3x3 convolution, at most.
    """

    def __init__(self, channels: int, blocks: int, expansion: int = 2, group: int = 16) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = nn.Conv2d(channels, inner, 1)
        self.mix = nn.Conv2d(inner, inner, 3, padding=1, groups=max(1, inner // group))
        self.reduce = nn.Conv2d(inner, channels, 1, bias=False)
        fixup_init([self.expand, self.mix, self.reduce], blocks)

    def forward(self, x: Tensor) -> Tensor:
        h = functional.leaky_relu(self.expand(x), 0.2)
        return x + self.reduce(functional.leaky_relu(self.mix(h), 0.2))


def fixup_init(layers: list[nn.Module], blocks: int) -> None:
    """Initialise the layers of one of ``blocks`` residual branches so that no normalisation is needed.

    He's initialisation times ``blocks^(-1 / (2 m - 2))`` for ``m`` layers, the last one 0, biases 0 (Zhang, Dauphin
    and Ma 2019, "Fixup Initialization: Residual Learning Without Normalization", section 3, rules 1 and 2).
    """
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, 0.2)  # type: ignore[arg-type]
        with torch.no_grad():
            layer.weight *= 0 if layer is layers[-1] else blocks ** (-1 / (2 * len(layers) - 2))  # type: ignore[operator]
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


def orthogonal_init(network: nn.Module) -> None:
    """Initialise convolutions, linear layers and embeddings with orthogonal rows or columns, biases with 0.

    Saxe et al. 2014; Brock et al. 2019, section 3.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.Embedding):
            nn.init.orthogonal_(module.weight)
            if isinstance(getattr(module, "bias", None), Tensor):
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
