"""Rewrites a trace of stacked copies: each copy draws from its own generator, and operations without effect go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

from ganbench.harness.checkpoint import capture
from ganbench.plugin.gan import GAN
from ganbench.plugin.variant import Clock

CLOCKS = 32  # moments of a training at which ``settle`` is tried out
_COPIES = (torch.ops.aten.copy_.default, torch.ops.aten.detach.default)
_SHAPES = (torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default, torch.ops.aten.expand.default)


class Unstackable(ValueError):
    """A variant that only the serial engine can train. The message completes the sentence "it ..."."""


def simplify(trace: GraphModule, generators: Sequence[Generator], lane_sources: Sequence[int]) -> None:
    """Make a trace of ``vmap`` over lanes that of some copies, and faster.

    Args:
        trace: whose random tensors have the lanes along their first axis.
        generators: one a copy. What it draws from it is what it would draw alone.
        lane_sources: the copy whose numbers stand in each lane.

    Raises:
        Unstackable: something is drawn in another way than uniformly or normally.
    """
    writes = any(_op(node) and node.target._schema.is_mutable for node in trace.graph.nodes)
    for node in list(trace.graph.nodes):
        if not _op(node):
            continue
        if torch.Tag.nondeterministic_seeded in node.target.tags:
            if node.target not in _DRAWS:
                raise Unstackable(f"draws with {node.target} in its losses, which no seed can do on its own")
            sized, fill = _DRAWS[node.target]
            node.target = _draw_separately(sized, fill, generators, lane_sources)
        elif _is_idle(node, writes):
            node.replace_all_uses_with(node.args[0])
    trace.graph.eliminate_dead_code()
    trace.recompile()


def settle_moves_weights(
    variant: GAN, settled: Callable[[Clock], Callable[[dict[str, Tensor]], None]], state: dict[str, Tensor]
) -> bool:
    """Whether a variant's ``settle`` works on tensors; it is tried at many moments of a training.

    Args:
        settled: from a clock to a function that runs ``settle`` on the tensors of one copy.
        state: such tensors, which stay as they are.

    Raises:
        Unstackable: it does what would not be right on stacks, or changes what a trace holds fixed.
    """
    if type(variant).settle is GAN.settle:
        return False
    before, moves = capture(variant)["scalars"], False
    groups = [(group, dict(group)) for one in variant.optimizers.values() for group in one.param_groups]
    for i in range(CLOCKS + 1):
        clock = Clock(i * 1000, i * 1000, CLOCKS * 1000, min(i / CLOCKS, 1 - 1e-9), i == CLOCKS)
        own = {name: value.clone() for name, value in state.items()}
        for node in filter(_op, make_fx(settled(clock))(own).graph.nodes):
            moves = True
            shapes = {value.meta["val"].shape for value in node.all_input_nodes}
            if len(shapes) > 1 or not (torch.Tag.pointwise in node.target.tags or node.target in _COPIES):
                raise Unstackable(f"moves weights in settle by {node.target}, which is not elementwise")
        if capture(variant)["scalars"] != before:
            raise Unstackable("changes attributes in settle, which its losses may read")
    for group, saved in groups:
        group.update(saved)
    return moves


def _op(node: Node) -> bool:
    return node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload)


def _is_idle(node: Node, writes: bool) -> bool:
    """Whether an operation gives back what it is given, as many of those that ``vmap`` leaves behind do.

    A product is a copy, which is not idle where something may write into it.
    """
    if node.target is torch.ops.aten.mul.Scalar:
        return not writes and bool(node.args[1] == 1)
    if node.target not in _SHAPES:
        return False
    before, after = node.args[0].meta["val"], node.meta["val"]  # type: ignore[union-attr]
    return bool(before.shape == after.shape and before.stride() == after.stride())


def _draw_separately(
    sized: bool,
    fill: Callable[[Tensor, Generator], Tensor],
    generators: Sequence[Generator],
    lane_sources: Sequence[int],
) -> Callable[..., Tensor]:
    def draw(like: Any, **settings: Any) -> Tensor:
        about = {name: settings[name] for name in ("dtype", "device") if name in settings}
        out = torch.empty(like, **about) if sized else torch.empty_like(like)
        own = [fill(torch.empty_like(out[lane_sources.index(i)]), rng) for i, rng in enumerate(generators)]
        for part, i in zip(out, lane_sources, strict=True):
            part.copy_(own[i])
        return out

    return draw


def _uniform(out: Tensor, rng: Generator) -> Tensor:
    return out.uniform_(generator=rng)


def _normal(out: Tensor, rng: Generator) -> Tensor:
    return out.normal_(generator=rng)


# By operation: whether it is given a size or a tensor, and how its numbers are drawn.
_DRAWS: dict[Any, tuple[bool, Callable[[Tensor, Generator], Tensor]]] = {
    torch.ops.aten.rand_like.default: (False, _uniform),
    torch.ops.aten.randn_like.default: (False, _normal),
    torch.ops.aten.rand.default: (True, _uniform),
    torch.ops.aten.randn.default: (True, _normal),
}
