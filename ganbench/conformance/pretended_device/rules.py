"""What a GPU does with each operation: which wait for it, which have no deterministic kernel, which mix devices."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

# The host needs to know a value or a size that only the device knows.
_WAIT = {
    "_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "equal",
    "is_nonzero", "allclose", "bincount", "histc", "histogram", "_linalg_check_errors", "_linalg_eigh", "_linalg_svd",
    "_linalg_eigvals", "linalg_eig", "linalg_eigvals", "linalg_lstsq", "linalg_pinv", "_ctc_loss",
    "_to_sparse", "_coalesce",
}  # fmt: skip
# What torch.use_deterministic_algorithms says raises on CUDA (torch 2.14), as autograd names it.
_NONDETERMINISTIC = {
    "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward", "adaptive_max_pool2d_backward",
    "avg_pool3d_backward", "fractional_max_pool2d_backward", "fractional_max_pool3d_backward", "max_unpool2d",
    "max_unpool3d", "upsample_linear1d_backward", "upsample_bilinear2d_backward", "upsample_bicubic2d_backward",
    "upsample_trilinear3d_backward", "_upsample_bilinear2d_aa_backward", "_upsample_bicubic2d_aa_backward",
    "reflection_pad1d_backward", "reflection_pad2d_backward", "reflection_pad3d_backward", "nll_loss2d_forward",
    "_ctc_loss_backward", "put", "put_", "histc", "kthvalue", "grid_sampler_2d_backward", "grid_sampler_3d_backward",
}  # fmt: skip
# Takes tensors of both sides by nature.
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
MIXING = INDEXING | {"copy_", "_to_copy", "set_", "_ctc_loss", "_ctc_loss_backward"}
# Beside elementwise operations these take a number that is a tensor on the CPU.
TAKES_CPU_NUMBER = {"masked_fill", "masked_fill_", "index_fill", "index_fill_", "fill", "fill_"}
# No kernel runs.
NO_KERNEL = {
    "detach", "alias", "_local_scalar_dense", "lift_fresh", "empty", "empty_like", "empty_strided", "new_empty",
    "new_empty_strided", "is_same_size", "_has_compatible_shallow_copy_type", "_linalg_check_errors",
}  # fmt: skip
# What CUDA's autocast computes in the lower precision, and what in float32, by the names of torch's functions.
LOWERED = {
    "__matmul__", "__rmatmul__", "matmul", "mm", "mv", "bmm", "addmm", "addmv", "addbmm", "baddbmm", "chain_matmul",
    "multi_dot", "linear", "bilinear", "einsum", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d", "scaled_dot_product_attention", "prelu",
}  # fmt: skip
RAISED = {
    "__pow__", "__rpow__", "pow", "exp", "expm1", "log", "log10", "log2", "log1p", "logsumexp", "rsqrt", "reciprocal",
    "softplus", "softmax", "log_softmax", "softmin", "layer_norm", "group_norm", "norm", "cosine_similarity", "cdist",
    "pdist", "dist", "renorm", "sum", "prod", "cumsum", "cumprod", "mse_loss", "l1_loss", "smooth_l1_loss",
    "kl_div", "nll_loss", "cross_entropy", "binary_cross_entropy_with_logits", "hinge_embedding_loss",
    "cosine_embedding_loss", "triplet_margin_loss", "acos", "asin", "cosh", "sinh", "tan", "erfinv",
}  # fmt: skip
# The passes whose backward pass is in the list: the line to be told is that of the forward pass.
FORWARD = {name.removesuffix("_backward") for name in _NONDETERMINISTIC if name.endswith("_backward")}
MASKS = (torch.bool, torch.uint8)


@functools.cache
def short_name(func: Any) -> str:
    """``mul`` for ``aten::mul.Tensor``."""
    return str(func._schema.name).partition("::")[2]


def waits(name: str, func: Any, args: Any, kwargs: Any) -> bool:
    """Whether the host has to wait for the device in this operation."""
    if name in _WAIT:
        return True
    if name in INDEXING:
        value = args[2] if name != "index" and name != "_unsafe_index" else None
        if isinstance(value, Tensor) and value.device.type == "cpu" and value.numel() == 1:
            return False  # filled where the mask is true
        return any(isinstance(index, Tensor) and index.dtype in MASKS for index in args[1])
    if name == "multinomial":  # drawn without replacement, the probabilities are looked at first
        replacement = args[2] if len(args) > 2 else kwargs.get("replacement", False)
        return not replacement or args[1] == 1
    if name == "repeat_interleave":
        return kwargs.get("output_size") is None and (len(args) < 3 or args[2] is None)
    return name == "normal" and func._overloadname in ("float_Tensor", "Tensor_Tensor")  # the deviations are looked at


def is_nondeterministic(name: str, func: Any, args: Any, kwargs: Any) -> bool:
    """Whether CUDA has no kernel for it that gives the same bits each time."""
    if name in _NONDETERMINISTIC:
        return True
    if name == "bincount":
        return (args[1] if len(args) > 1 else kwargs.get("weights")) is not None
    if name == "median":
        return str(func._overloadname).startswith("dim")
    if name in ("scatter_reduce", "scatter_reduce_"):
        return (args[4] if len(args) > 4 else kwargs.get("reduce")) == "prod"
    return name == "_embedding_bag_backward" and args[8] == 2  # 2: the largest of a bag
