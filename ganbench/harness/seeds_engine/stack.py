"""Trains several copies of one GAN as one stacked computation: each tensor has the copies along its first axis.

The two phases are traced once, with their gradients, as PyTorch operations on stacks (``make_fx`` of ``vmap`` of
``torch.func.grad``); a step replays the traces and lets one ordinary optimizer step the stacks, which for elementwise
rules is one optimizer a copy. Each copy draws from its own generator what it would draw alone, and its weights are
those of training alone up to rounding.

How a number is rounded can depend on its place in a stack, where vectors of the processor begin and end. So a stack
always has the same number of lanes, a copy always the same lane, and lanes without a copy are filled: a copy's bits do
not depend on which others there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn, optim
from torch.func import functional_call, grad_and_value, vmap
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.optim import Optimizer

from ganbench.harness.checkpoint import capture
from ganbench.harness.seeds_engine.tracing import Unstackable, settle_moves_weights, simplify
from ganbench.plugin.gan import GAN
from ganbench.plugin.variant import Batch, Clock, Variant, device_of
from ganbench.results.spec import LANES
from ganbench.utils.errors import in_words

ROLES = ("discriminator", "generator")
# Their rule for one number looks at no other: a step on a stack is a step on each of its copies.
ELEMENTWISE = (
    optim.Adam,
    optim.AdamW,
    optim.Adamax,
    optim.NAdam,
    optim.RAdam,
    optim.SGD,
    optim.RMSprop,
    optim.Adagrad,
    optim.Adadelta,
    optim.Rprop,
)

State = dict[str, Tensor]


class _Method(nn.Module):
    """A variant whose call runs one of its methods, so that ``functional_call`` reaches it."""

    def __init__(self, variant: GAN) -> None:
        super().__init__()
        self.variant = variant

    def forward(self, work: Callable[[GAN], Any]) -> Any:
        return work(self.variant)


class Stack:
    """Copies of one GAN that take every step together.

    Args:
        copies: built from the same class and hyperparameters, on one device. Their tensors go stale while the
            stack trains; ``scatter`` brings them up to date.
        generators: what each copy draws from, in its own order.
        lanes: where each copy stands, below ``LANES``, in rising order.

    Raises:
        Unstackable: the variant does what cannot be stacked.
    """

    def __init__(self, copies: Sequence[GAN], generators: Sequence[Generator], lanes: Sequence[int]) -> None:
        for copy in copies:
            _require_plain(copy)
        self.copies, self.generators, self.lanes = list(copies), list(generators), list(lanes)
        # The copy whose numbers stand in each lane: its own, or for want of one the first's.
        self.lane_sources = [self.lanes.index(lane) if lane in self.lanes else 0 for lane in range(LANES)]
        device = device_of(self.copies[0])
        self._lanes, self._lane_sources = (
            torch.tensor(rows, device=device) for rows in (self.lanes, self.lane_sources)
        )
        self.template = copies[0]
        self._method = _Method(self.template)
        self._traces: dict[str, GraphModule] = {}
        self.gather()
        one = {name: value[0] for name, value in {**self.parameters, **self.buffers}.items()}
        self._settle_moves = settle_moves_weights(self.template, self._settled, one)

    def gather(self) -> None:
        """Take parameters, buffers and optimizer states from the copies."""
        found = [capture(copy) for copy in self.copies]
        states = [found[i] for i in self.lane_sources]
        if any(state["scalars"] != states[0]["scalars"] for state in states):
            raise Unstackable("has attributes that differ from seed to seed")
        self.parameters: State = _stacked([state["parameters"] for state in states])
        self.buffers: State = _stacked([state["buffers"] for state in states])
        self.names: dict[str, list[str]] = {}
        self.optimizers: dict[str, Optimizer] = {}
        for role in ROLES:
            saved = [state["optimizers"][role] for state in states]
            self.names[role] = [name for group in saved[0]["groups"] for name in group["params"]]
            kind: Any = type(self.template.optimizers[role])
            groups = [{**g, "params": [self.parameters[n] for n in g["params"]]} for g in saved[0]["groups"]]
            self.optimizers[role] = kind(groups)
            for name in saved[0]["state"]:
                values = [one["state"][name] for one in saved]
                shape = self.parameters[name].shape[1:]
                self.optimizers[role].state[self.parameters[name]] = {
                    key: torch.stack([one[key].to(self.parameters[name].device) for one in values])
                    if isinstance(value, Tensor) and value.shape == shape and value.dim()
                    else _cloned(value)
                    for key, value in values[0].items()
                }

    @torch.no_grad()
    def scatter(self) -> None:
        """Bring the copies' parameters, buffers and optimizers up to date."""
        for k, copy in zip(self.lanes, self.copies, strict=True):
            for name, parameter in copy.named_parameters():
                parameter.copy_(self.parameters[name][k])
            for name, buffer in copy.named_buffers():
                buffer.copy_(self.buffers[name][k])
            own = dict(copy.named_parameters())
            for role in ROLES:
                self._scatter_optimizer(k, own, copy.optimizers[role], self.optimizers[role], self.names[role])

    def _scatter_optimizer(
        self, k: int, own: dict[str, nn.Parameter], target: Optimizer, source: Optimizer, names: list[str]
    ) -> None:
        _copy_settings(source, target)
        for name in names:
            stacked, parameter = self.parameters[name], own[name]
            for key, value in source.state.get(stacked, {}).items():
                if isinstance(value, Tensor) and value.shape == stacked.shape and parameter.dim():
                    value = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value[k])
                target.state[parameter][key] = _cloned(value)

    def step(self, real: Tensor, labels: Tensor | None, clock: Clock) -> dict[str, tuple[Tensor, Tensor]]:
        """One ``train_step`` of every copy.

        Args:
            real: a batch for each copy, ``(copies, n, *shape)``; ``labels``: ``(copies, n)``, or None.

        Returns:
            By role that was updated, in that order: the losses ``(copies,)``, and the norms of the gradients of its
            parameters ``(copies, parameters)``.
        """
        found = {}
        for role in ROLES:
            if role == "generator" and (clock.step + 1) % self.template.critic_steps:
                continue
            given = [self._fill(real), self.latents(real.shape[1])]
            given += [] if labels is None else [self._fill(labels)]
            if role not in self._traces:
                self._traces[role] = self._trace(role, given)
            with torch.no_grad():
                loss, norms, *rest = self._traces[role](*self.parameters.values(), *self.buffers.values(), *given)
            names = self.names[role]
            for name, gradient in zip(names, rest, strict=False):
                self.parameters[name].grad = gradient
            for buffer, value in zip(self.buffers.values(), rest[len(names) :], strict=True):
                buffer.copy_(value)
            self.optimizers[role].step()
            found[role] = (loss.index_select(0, self._lanes), norms.index_select(0, self._lanes))
        self._settle(clock)
        return found

    def latents(self, n: int) -> Tensor:
        """What each copy draws next, ``(lanes, n, d)``."""
        drawn = [copy.latent(n, rng) for copy, rng in zip(self.copies, self.generators, strict=True)]
        return torch.stack([drawn[i] for i in self.lane_sources])

    def _fill(self, rows: Tensor) -> Tensor:
        """``(copies, ...)`` to ``(lanes, ...)``."""
        return rows if len(self.copies) == LANES else rows.index_select(0, self._lane_sources)

    def _call(self, state: State, work: Callable[[GAN], Any]) -> Any:
        return functional_call(self._method, {f"variant.{name}": value for name, value in state.items()}, (work,))

    def _trace(self, role: str, given: Sequence[Tensor]) -> GraphModule:
        """The phase of a role with its gradients, as operations on stacks.

        It takes parameters, buffers and what is ``given``, and returns the loss, the norms of the gradients of the
        role's parameters, the gradients, and the buffers: all flat, since nested values cost time at every call.
        """
        n, names = len(self.parameters), self.names[role]

        def phase(*flat: Tensor) -> tuple[Tensor, ...]:
            """One phase of one seed, as a function of tensors alone, so that ``vmap`` computes it for all seeds."""
            parameters = dict(zip(self.parameters, flat, strict=False))
            buffers = _copied(dict(zip(self.buffers, flat[n:], strict=False)))
            data, z, *labels = flat[n + len(buffers) :]
            real = Batch(data, *labels)
            fixed = {name: value for name, value in parameters.items() if name not in names}
            fake: Batch | None = None
            if role == "discriminator":
                with torch.no_grad():
                    fake = self._call({**parameters, **buffers}, lambda variant: variant.fake(z))

            def loss(weights: State) -> tuple[Tensor, State]:
                after = _copied(buffers)

                def work(variant: GAN) -> Tensor:
                    if fake is not None:
                        return variant.discriminator_phase(real, fake)
                    return variant.generator_phase(real, variant.fake(z))

                return self._call({**fixed, **weights, **after}, work), after

            found, (value, after) = grad_and_value(loss, has_aux=True)({name: parameters[name] for name in names})
            norms = torch.stack([torch.linalg.vector_norm(gradient) for gradient in found.values()])
            return (value, norms, *found.values(), *after.values())

        inputs = (*(p.detach() for p in self.parameters.values()), *self.buffers.values(), *given)
        try:
            trace = make_fx(vmap(phase, randomness="different"))(*inputs)
        except Exception as reason:
            raise Unstackable(f"cannot be traced ({in_words(reason)[:200]})") from reason
        simplify(trace, self.generators, self.lane_sources)
        return trace

    def _settled(self, clock: Clock) -> Callable[[State], None]:
        return lambda state: self._call(state, lambda variant: variant.settle(clock))

    @torch.no_grad()
    def _settle(self, clock: Clock) -> None:
        if type(self.template).settle is GAN.settle:
            return
        if self._settle_moves:
            self._settled(clock)({**self.parameters, **self.buffers})
        else:
            self.template.settle(clock)
        for role in ROLES:
            _copy_settings(self.template.optimizers[role], self.optimizers[role])


def _require_plain(variant: Variant) -> None:
    """Raise Unstackable for a variant whose step is not that of ``GAN``, or whose state has parts that do not stack."""
    cls = type(variant)
    if not isinstance(variant, GAN) or cls.train_step is not GAN.train_step or cls.update is not Variant.update:
        raise Unstackable("has a training step of its own")
    if variant.memory or set(variant.optimizers) != set(ROLES):
        raise Unstackable("keeps a memory, or other optimizers than those of its two networks")
    for optimizer in variant.optimizers.values():
        if type(optimizer) not in ELEMENTWISE:
            raise Unstackable(f"is stepped by {type(optimizer).__name__}, whose steps are not elementwise")


def _stacked(states: Sequence[State]) -> State:
    return {name: torch.stack([state[name].detach() for state in states]) for name in states[0]}


def _copied(state: State) -> State:
    """Copies that a network may write into."""
    return {name: value.clone() for name, value in state.items()}


def _cloned(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _copy_settings(source: Optimizer, target: Optimizer) -> None:
    for mine, theirs in zip(target.param_groups, source.param_groups, strict=True):
        mine.update({name: value for name, value in theirs.items() if name != "params"})
