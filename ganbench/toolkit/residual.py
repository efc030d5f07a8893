"""Residual blocks and the initialisations that they need.

Blocks that resample are those of Miyato et al. 2018, appendix B, and Brock et al. 2019, appendix B.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganbench.toolkit.attention import SelfAttention
from ganbench.toolkit.equalized import pyramid
from ganbench.toolkit.networks import Reshape, size_of


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
    """A conditional discriminator's logits, one for each class y: ``psi(h) + <v_y, h>``, ``(n, d) -> (n, classes)``.

    Miyato and Koyama 2018, "cGANs with Projection Discriminator", equation 4: ``h`` are features of the sample,
    ``v_y`` is the embedding of y. A network that sees x and y together would have to learn this form; here it is given.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.psi = nn.Linear(features, 1)
        self.embedding = nn.Linear(features, classes, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        return self.psi(h) + self.embedding(h)


class ResidualGenerator(nn.Module):
    """A generator of residual blocks for images: ``(n, latent_dim)``, and a condition if there is one, to images.

    Brock et al. 2019, appendix B: latent and condition together set the scale and shift of every normalisation.

    Args:
        shape: ``(channels, height, width)`` of an image; values in [-1, 1].
        latent_dim: size of z.
        condition_dim: size of the condition, which is then the second argument; 0 for none.
        width: channels next to the image.
        attention: self-attention at the highest resolution below the image's that is at least 8x8, or the image's own.
    """

    def __init__(
        self, shape: Sequence[int], latent_dim: int, condition_dim: int, width: int, attention: bool = False
    ) -> None:
        super().__init__()
        shapes = pyramid(shape, width)
        self.base = nn.Linear(latent_dim, size_of(shapes[0]))
        self.reshape = Reshape(shapes[0])
        self.blocks = nn.ModuleList(
            ResidualUp(a, b, latent_dim + condition_dim) for (a, *_), (b, *_) in pairwise(shapes)
        )
        self.attention_after = max(0, len(shapes) - 3) if attention else -1
        if attention:
            self.attention = SelfAttention(shapes[self.attention_after + 1][0])
        self.to_image = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, shape[0], 3, padding=1))

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        c = z if condition is None else torch.cat([z, condition], 1)
        x = self.reshape(self.base(z))
        for i, block in enumerate(self.blocks):
            x = block(x, c)
            if i == self.attention_after:
                x = self.attention(x)
        return torch.tanh(self.to_image(x))


class ResidualFeatures(nn.Module):
    """The body of a discriminator of residual blocks: images ``(n, *shape)`` to features ``(n, features)``.

    Miyato et al. 2018, appendix B: blocks that halve the sides, one that does not, ReLU, the sum over all places.

    Attributes:
        features: how many there are.
    """

    def __init__(self, shape: Sequence[int], width: int, attention: bool = False) -> None:
        super().__init__()
        shapes = pyramid(shape, width)[::-1]
        layers: list[nn.Module] = [ResidualDown(shape[0], shapes[1][0], first=True)]
        if attention:
            layers.append(SelfAttention(shapes[1][0]))
        for (a, *_), (b, *_) in pairwise(shapes[1:]):
            layers.append(ResidualDown(a, b))
        self.features = shapes[-1][0]
        self.layers = nn.Sequential(*layers, ResidualDown(self.features, self.features, downsample=False), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).sum((2, 3))


class GroupedResidual(nn.Module):
    """A residual block without normalisation: 1x1, grouped 3x3 and 1x1 convolutions, ``(n, c, h, w)`` to the same.

    Huang et al. 2024, "The GAN is dead; long live the GAN! A Modern Baseline GAN", Configs D and E: the
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
            layer.weight *= 0 if layer is layers[-1] else blocks ** (-1 / (2 * len(layers) - 2))  # type: ignore[operator,assignment]
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
