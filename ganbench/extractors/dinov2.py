"""The vision transformer of DINOv2, from a state dict in its authors' layout.

torch-fidelity has its authors' code downloaded and run; the architecture is small enough to stand here.
Oquab et al. 2023, "DINOv2: Learning Robust Visual Features without Supervision".
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEAD = 64  # features of an attention head
EPSILON = 1e-6
OFFSET = 0.1  # the authors add it to the sides of the grid to which position embeddings are resized


class VisionTransformer(nn.Module):
    """Images ``(n, 3, height, width)``, normalised, to the class token's features ``(n, d)``.

    Args:
        state: ``cls_token``, ``pos_embed``, ``patch_embed.proj``, ``blocks.<i>`` and ``norm``; what else it holds is
            not used.

    Raises:
        KeyError: one of them is missing.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        names = [name for name in state if name.startswith("blocks.")]
        self.depth = 1 + max((int(name.split(".")[1]) for name in names), default=-1)
        for name in ("cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias", *names):
            self.register_buffer(_flat(name), state[name].float())
        for name in ("norm.weight", "norm.bias"):
            self.register_buffer(_flat(name), state[name].float())

    def at(self, name: str) -> Tensor:
        return self.get_buffer(_flat(name))

    def forward(self, images: Tensor) -> Tensor:
        kernel = self.at("patch_embed.proj.weight")
        patches = F.conv2d(images, kernel, self.at("patch_embed.proj.bias"), stride=kernel.shape[2:])
        tokens = torch.cat([self.at("cls_token").expand(len(images), -1, -1), patches.flatten(2).mT], dim=1)
        tokens = tokens + self.positions(patches.shape[2], patches.shape[3])
        for i in range(self.depth):
            tokens = tokens + self.at(f"blocks.{i}.ls1.gamma") * self.attention(
                i, self.norm(f"blocks.{i}.norm1", tokens)
            )
            tokens = tokens + self.at(f"blocks.{i}.ls2.gamma") * self.mlp(i, self.norm(f"blocks.{i}.norm2", tokens))
        return self.norm("norm", tokens[:, 0])

    def positions(self, rows: int, columns: int) -> Tensor:
        """Embeddings of the class token and of each patch, resized from the grid that they were learnt on."""
        known = self.at("pos_embed")
        side = round((known.shape[1] - 1) ** 0.5)
        if (rows, columns) == (side, side):
            return known
        grid = known[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
        scale = ((rows + OFFSET) / side, (columns + OFFSET) / side)
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic")
        return torch.cat([known[:, :1], grid.flatten(2).mT], dim=1)

    def norm(self, name: str, tokens: Tensor) -> Tensor:
        return F.layer_norm(tokens, tokens.shape[-1:], self.at(f"{name}.weight"), self.at(f"{name}.bias"), EPSILON)

    def linear(self, name: str, tokens: Tensor) -> Tensor:
        return F.linear(tokens, self.at(f"{name}.weight"), self.at(f"{name}.bias"))

    def attention(self, i: int, tokens: Tensor) -> Tensor:
        heads = self.linear(f"blocks.{i}.attn.qkv", tokens).unflatten(2, (3, -1, HEAD))
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.linear(f"blocks.{i}.attn.proj", mixed.transpose(1, 2).flatten(2))

    def mlp(self, i: int, tokens: Tensor) -> Tensor:
        """Two layers with GELU, or SwiGLU in the largest network."""
        name = f"blocks.{i}.mlp"
        if _flat(f"{name}.w12.weight") in self._buffers:
            gate, value = self.linear(f"{name}.w12", tokens).chunk(2, dim=-1)
            return self.linear(f"{name}.w3", F.silu(gate) * value)
        return self.linear(f"{name}.fc2", F.gelu(self.linear(f"{name}.fc1", tokens)))


def _flat(name: str) -> str:
    return name.replace(".", "-")  # a buffer's name has no dots
