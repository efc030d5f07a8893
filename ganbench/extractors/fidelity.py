"""The large pretrained networks that published scores use (Inception, VGG, CLIP, DINOv2), as in torch-fidelity.

torch-fidelity, and torchvision with it, are imported at the first image.
"""

from __future__ import annotations

import copy
import hashlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganbench.extractors import weight_files
from ganbench.extractors.classifier import full_precision
from ganbench.extractors.weight_files import Published
from ganbench.plugin.hookspecs import hookimpl
from ganbench.plugin.interfaces import REQUIRED, Extractor, plugin_dataclass
from ganbench.utils.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

BATCH = 32  # images at a time: activations of large images are large


@plugin_dataclass
class Network(Extractor):
    """Features of a large pretrained network, as in torch-fidelity.

    Attributes:
        network: the function of ``extractors.networks`` that builds it from its weights.
        published: the weights that it has unless ``with_weights`` gives others.
    """

    network: str = REQUIRED
    published: Published = REQUIRED
    dear = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._given: Path | None = None
        self._networks: dict[Any, nn.Module] = {}

    def with_weights(self, path: Path) -> Network:
        """This network with the weights in a file, whatever its hash: ``<name>@<hash8>``, remembered under that name.

        Raises:
            UsageError: it cannot be read.
        """
        path = path.expanduser().absolute()
        found = weight_files.digest(path)
        weight_files.remember(path, found)
        other = self._from(path, found)
        other.notes = (f"{other.name}: weights of {path}, SHA-256 {found}; scores by other weights are not comparable",)
        return other

    def member(self, name: str) -> Network | None:
        """The network with remembered weights: ``<name>@<hash8>``."""
        own, _, hash8 = name.partition("@")
        if own != self.name or not hash8:
            return None
        path = weight_files.recall(own, hash8)
        return self._from(path, weight_files.digest(path))

    def _from(self, path: Path, sha256: str) -> Network:
        other = copy.copy(self)
        other.name = f"{self.name}@{sha256[:8]}"
        other._given, other._networks = path, {}
        other.__dict__.pop("path", None)
        other.__dict__.pop("weights_hash", None)
        return other

    @cached_property
    def path(self) -> Path:
        """The file of its weights; raises UsageError where there is none."""
        return self._given or self.published.obtain(self.name)

    @cached_property  # type: ignore[misc]
    def weights_hash(self) -> str:  # type: ignore[override]
        """Hex SHA-256 of the architecture, of what is done to images before it, and of the weights."""
        text = f"{self.network}: float32, TensorFlow 1 bilinear resize: {weight_files.digest(self.path)}"
        return hashlib.sha256(text.encode()).hexdigest()

    def build(self) -> nn.Module:
        """The network on the CPU; raises UsageError for weights that do not fit it."""
        from ganbench.extractors import networks

        try:
            network: nn.Module = getattr(networks, self.network)(self.state())
        except UsageError:
            raise
        except Exception as reason:  # whatever building a network from other tensors raises
            words = " ".join(str(reason).split())[:300]
            raise UsageError(f"{self.path} does not hold weights of {self.name}: {words}") from None
        return network.eval()

    def state(self) -> dict[str, Tensor]:
        return weight_files.read(self.path)

    def __call__(self, batch: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features ``(n, size)`` and class probabilities ``(n, 1008)`` where there are any, float32.

        Args:
            batch: images ``(n, 1 or 3, height, width)``, uint8 or floating point, in [0, 255]; grey becomes RGB.

        Raises:
            ValueError: the images are of another shape or type.
            UsageError: there are no weights, or they do not fit.
        """
        import torch

        images_have = batch.dtype == torch.uint8 or batch.is_floating_point()
        if batch.ndim != 4 or batch.shape[1] not in (1, 3) or not images_have:
            raise ValueError(
                f"extractor {self.name} expects images of shape (n, 1 or 3, height, width), uint8 or floating point "
                f"in [0, 255], got {batch.dtype} of shape {tuple(batch.shape)}"
            )
        if batch.device not in self._networks:
            self._networks[batch.device] = self.build().to(batch.device)
        network = self._networks[batch.device]
        features, probabilities = [], []
        with torch.no_grad(), full_precision(batch.device.type):
            for chunk in batch.split(BATCH):
                try:
                    found, logits = network(chunk.float().expand(-1, 3, -1, -1))
                except (AttributeError, IndexError) as reason:  # a layer is missing
                    raise UsageError(f"{self.path} does not hold weights of {self.name}: {reason}") from None
                features.append(found.float())
                if logits is not None:
                    probabilities.append(logits.cpu().double().softmax(dim=1).float())
        return torch.cat(features), torch.cat(probabilities) if probabilities else None


class Clip(Network):
    """The image side of a CLIP network."""

    def state(self) -> dict[str, Tensor]:
        import warnings

        import torch

        if weight_files.digest(self.path) == self.published.digest:
            # Its publisher's file is a TorchScript archive, which holds code: read for its hash's sake alone.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # TorchScript is on its way out
                return dict(torch.jit.load(self.path, map_location="cpu").state_dict())
        return super().state()


INCEPTION = Published(
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
    "6726825d",
)
VGG16 = Published("https://download.pytorch.org/models/vgg16-397923af.pth", "397923af")
CLIPS = {
    "clip-rn50": (1024, "RN50", "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"),
    "clip-rn101": (512, "RN101", "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599"),
    "clip-rn50x4": (640, "RN50x4", "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd"),
    "clip-rn50x16": (768, "RN50x16", "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa"),
    "clip-rn50x64": (1024, "RN50x64", "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c"),
    "clip-vit-b-32": (512, "ViT-B-32", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"),
    "clip-vit-b-16": (512, "ViT-B-16", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"),
    "clip-vit-l-14": (768, "ViT-L-14", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"),
    "clip-vit-l-14-336px": (768, "ViT-L-14-336px", "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"),
}
DINOS = {"s": 384, "b": 768, "l": 1024, "g": 1536}


def _clip(name: str, size: int, model: str, sha256: str) -> Clip:
    url = f"https://openaipublic.azureedge.net/clip/models/{sha256}/{model}.pt"
    return Clip(name=name, size=size, network="clip", published=Published(url, sha256, f"{name}-{sha256}.pt"))


def _dino(letter: str, size: int) -> Network:
    # Nobody states a hash of these files.
    model = f"dinov2_vit{letter}14"
    published = Published(f"https://dl.fbaipublicfiles.com/dinov2/{model}/{model}_pretrain.pth", "")
    return Network(name=f"dinov2-vit-{letter}-14", size=size, network="dinov2", published=published)


@hookimpl
def ganbench_extractors() -> list[Extractor]:
    return [
        Network(name="inception-v3", size=2048, network="Inception", published=INCEPTION),
        Network(name="inception-v3-fast", size=2048, network="FastInception", published=INCEPTION),
        Network(name="vgg16", size=4096, network="vgg16", published=VGG16),
        *(_clip(name, *about) for name, about in CLIPS.items()),
        *(_dino(letter, size) for letter, size in DINOS.items()),
    ]
