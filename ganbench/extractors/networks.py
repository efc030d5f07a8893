"""Build the pretrained networks of torch-fidelity from tensors in memory.

A network takes RGB images ``(n, 3, height, width)`` as float32 in [0, 255] of any size and returns
features, and logits where it has them. Resizing is TensorFlow 1's bilinear, as in torch-fidelity.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torch_fidelity.feature_extractor_clip import build_model
from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d, FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from ganbench.extractors.dinov2 import VisionTransformer

State = dict[str, Tensor]
Output = tuple[Tensor, Tensor | None]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
LAYERS = (
    "Conv2d_1a_3x3",
    "Conv2d_2a_3x3",
    "Conv2d_2b_3x3",
    "MaxPool_1",
    "Conv2d_3b_1x1",
    "Conv2d_4a_3x3",
    "MaxPool_2",
    "Mixed_5b",
    "Mixed_5c",
    "Mixed_5d",
    "Mixed_6a",
    "Mixed_6b",
    "Mixed_6c",
    "Mixed_6d",
    "Mixed_6e",
    "Mixed_7a",
    "Mixed_7b",
    "Mixed_7c",
    "AvgPool",
)


def resized(images: Tensor, side: int) -> Tensor:
    """``(n, c, side, side)``: TensorFlow 1's bilinear resize without anti-aliasing, as FID has always had it."""
    if images.shape[2:] == (side, side):  # the same values, without the work
        return images
    return interpolate_bilinear_2d_like_tensorflow1x(images, size=(side, side), align_corners=False)


def resized_by_products(images: Tensor, side: int) -> Tensor:
    """The same as ``resized``, computed by two matrix products: resizing is linear in rows and in columns."""
    if images.shape[2:] == (side, side):
        return images
    rows, columns = (weights(size, side).to(images.device) for size in images.shape[2:])
    return rows @ images @ columns.T


@cache
def weights(size: int, side: int) -> Tensor:
    """The matrix ``(side, size)`` of TensorFlow 1's bilinear resize of one axis."""
    place = torch.arange(side, dtype=torch.float32) * torch.tensor(size / side, dtype=torch.float32)
    low = place.long()
    part = place - low
    matrix = torch.zeros(side, size)
    matrix.scatter_add_(1, low[:, None], 1 - part[:, None])
    return matrix.scatter_add_(1, (low + 1).clamp_max(size - 1)[:, None], part[:, None])


class Inception(nn.Module):
    """The Inception network of FID: the features before its last layer, and its logits without their bias."""

    resize: Callable[[Tensor, int], Tensor] = staticmethod(resized)

    def __init__(self, state: State) -> None:
        super().__init__()
        # It unpickles what it is given, so it is given what was written here a moment ago.
        file = io.BytesIO()
        torch.save(state, file)
        file.seek(0)
        features = ["2048", "logits_unbiased"]
        self.network = FeatureExtractorInceptionV3("inception-v3-compat", features, feature_extractor_weights_path=file)

    def forward(self, images: Tensor) -> Output:
        hidden = self.normalised(images)
        for name in LAYERS:
            hidden = getattr(self.network, name)(hidden)
        features = hidden.flatten(1)
        return features, features.mm(self.network.fc.weight.T)

    def normalised(self, images: Tensor) -> Tensor:
        return (self.resize(images, FeatureExtractorInceptionV3.INPUT_IMAGE_SIZE) - 128) / 128


class FastInception(Inception):
    """Inception made faster, equal up to rounding: batch norm folded into convolutions, channels last."""

    resize = staticmethod(resized_by_products)

    def __init__(self, state: State) -> None:
        super().__init__(state)
        for module in self.network.modules():
            if isinstance(module, BasicConv2d):
                folded = nn.utils.fuse_conv_bn_eval(module.conv.double(), module.bn.double())
                module.conv, module.bn = folded.float().requires_grad_(False), nn.Identity()
        self.network.to(memory_format=torch.channels_last)

    def normalised(self, images: Tensor) -> Tensor:
        return super().normalised(images).contiguous(memory_format=torch.channels_last)


class Normalised(nn.Module):
    """Resize and normalise images before a network: each channel's mean and standard deviation are removed."""

    def __init__(self, network: nn.Module, side: int, statistics: Any) -> None:
        super().__init__()
        self.network, self.side = network.eval().requires_grad_(False), side
        self.mean, self.std = ([255 * value for value in values] for values in statistics)

    def forward(self, images: Tensor) -> Output:
        images = resized(images, self.side)
        return self.network(torchvision.transforms.functional.normalize(images, self.mean, self.std)), None


class Rectified(nn.Sequential):
    """Layers followed by ReLU; with VGG16 they give what torch-fidelity calls ``fc2_relu``."""

    def forward(self, images: Tensor) -> Tensor:
        return F.relu(super().forward(images))


def clip(state: State) -> nn.Module:
    visual = build_model(dict(state), torch.float32).visual
    return Normalised(visual, visual.input_resolution, CLIP)


def dinov2(state: State) -> nn.Module:
    return Normalised(VisionTransformer(state), 224, IMAGENET)


def vgg16(state: State) -> nn.Module:
    with torch.device("meta"):  # random weights for 138 million parameters take seconds
        network = torchvision.models.vgg16(init_weights=False)
    network.load_state_dict(state, assign=True)
    network.float()
    network.classifier = network.classifier[:4]
    return Normalised(Rectified(network), 224, IMAGENET)
