"""Telemetry: losses, gradient norms and update counts of a training, measured without the variant's help.

Losses come from what ``train_step`` returns; gradient norms and update counts from a hook that torch
calls before every optimizer step. Nothing is clipped and nothing replaced: divergence is a result.
Values stay on the device until ``gather``; only then are they moved and checked.
"""

from __future__ import annotations

import contextlib
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from ganbench.plugin.variant import Variant, device_of

GATHER_STEPS = 256  # bounds what waits on the device between two evaluations
# What torch says of an operation whose bits may differ from run to run, and of cuBLAS without its workspace.
_NONDETERMINISTIC = re.compile(
    r"(\S.*?) (?:does not have a deterministic implementation|defaults to a non-deterministic algorithm)"
    r"|.*not deterministic because it uses (CuBLAS)"
)
SPIKE_FACTOR, SPIKE_WINDOW, SPIKE_START = 10.0, 101, 20


class Diverged(ArithmeticError):
    """A loss, gradient or sample is no longer finite. ``step`` is the first call of ``train_step`` with one."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__(f"{what} is not finite at step {step}")
        self.step, self.what = step, what


def nondeterministic_operation(warning: str) -> str | None:
    """The operation of which a warning of torch says that its bits need not repeat."""
    found = _NONDETERMINISTIC.match(warning)
    return (found[1] or found[2]) if found else None


@contextlib.contextmanager
def noted_nondeterminism(operations: set[str]) -> Iterator[None]:
    """A block that adds to a set the operations for which torch warns that their bits need not repeat.

    Each is told once, whatever filters of warnings say that stood before the block; other warnings go where they went.
    """
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def note(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            operation = nondeterministic_operation(str(message))
            if operation not in operations:
                shown(message, category, *rest, **more)
            if operation is not None:
                operations.add(operation)

        warnings.showwarning = note
        warnings.filterwarnings("always", message=_NONDETERMINISTIC.pattern)
        yield


class Series:
    """Values at steps, some of them still on the device."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.values: list[float] = []
        self.pending: list[Any] = []

    def gather(self) -> None:
        """Move pending values: scalars, or lists of norms whose own norm is meant."""
        if not self.pending:
            return
        if isinstance(self.pending[0], Tensor):
            self.values += torch.stack(self.pending).tolist()  # of two types the wider one, which holds both
        else:
            flat = [norm for norms in self.pending for norm in norms]
            norms = iter(torch.stack(flat).tolist() if flat else [])
            for parts in self.pending:
                self.values.append(_total_norm([next(norms) for _ in parts]))
        self.pending.clear()

    def first_nonfinite(self, since: int) -> int | None:
        """The first step from position ``since`` on whose value is not finite."""
        return next(
            (s for s, v in zip(self.steps[since:], self.values[since:], strict=True) if not math.isfinite(v)), None
        )

    def after(self, step: int) -> np.ndarray:
        """Values of that step and later."""
        return np.asarray(self.values[int(np.searchsorted(self.steps, step)) :])


class Telemetry:
    """Measures one training. Use as a context manager around the training loop."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.device = device_of(variant)
        self.step = 0
        self.losses: dict[str, Series] = {}
        self.gradients: dict[str, Series] = {}
        self.nondeterministic: set[str] = set()
        self._checked = 0

    def __enter__(self) -> Telemetry:
        self._blocks = contextlib.ExitStack()
        self._blocks.callback(register_optimizer_step_pre_hook(self._before_step).remove)
        self._blocks.enter_context(noted_nondeterminism(self.nondeterministic))
        return self

    def __exit__(self, *_: object) -> None:
        self._blocks.close()

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for role, known in self.variant.optimizers.items():
            if known is optimizer:
                gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
                series = self.gradients.get(role)
                if series is None:
                    series = self.gradients[role] = Series()
                series.steps.append(self.step)
                series.pending.append(torch._foreach_norm(gradients) if gradients else [])

    def observe(self, losses: Mapping[str, Tensor]) -> None:
        """Note the losses of the step that just ran, and go on to the next."""
        if not isinstance(losses, Mapping):
            raise TypeError(f"train_step returned {_shown(losses)}: expected a mapping of names to scalar tensors")
        for name, value in losses.items():
            if not isinstance(name, str) or not isinstance(value, Tensor) or value.numel() != 1:
                raise TypeError(
                    f"train_step returned {_shown(value)} as {name!r}: expected scalar tensors by name (a str)"
                )
            series = self.losses.get(name)
            if series is None:
                series = self.losses[name] = Series()
            series.steps.append(self.step)
            # A copy: the variant may go on writing into what it returned. What needs no conversion is spared one.
            if value.dtype is torch.float32 and value.dim() == 0 and value.device == self.device:
                series.pending.append(value.detach().clone())
            else:
                wide = torch.float32 if self.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
                series.pending.append(value.detach().to(self.device, wide, copy=True).reshape(()))
        self.step += 1
        if self.step % GATHER_STEPS == 0:
            self._move()

    def add(self, role: str, steps: list[int], losses: list[float], norms: list[list[float]]) -> None:
        """Note several updates of a role at once: their steps and losses, and for each the norms of its gradients."""
        for table, values in ((self.losses, losses), (self.gradients, [_total_norm(parts) for parts in norms])):
            series = table.setdefault(role, Series())
            series.steps += steps
            series.values += values

    def gather(self) -> None:
        """Move everything off the device; raises Diverged, with the first step, if anything is not finite."""
        self._move()
        found = []
        for order, kind, table in ((0, "loss", self.losses), (1, "gradient of", self.gradients)):
            for name, series in table.items():
                step = series.first_nonfinite(int(np.searchsorted(series.steps, self._checked)))
                if step is not None:
                    found.append((step, order, f"{kind} {name}"))
        if found:
            step, _, what = min(found)
            self.truncate(step)
            raise Diverged(step, what)
        self._checked = self.step

    def _move(self) -> None:
        for series in (*self.losses.values(), *self.gradients.values()):
            series.gather()

    def truncate(self, step: int) -> None:
        """Forget what came after ``step``: how far a diverged training ran on must not show."""
        for series in (*self.losses.values(), *self.gradients.values()):
            keep = int(np.searchsorted(series.steps, step, side="right"))
            del series.steps[keep:], series.values[keep:]
        self.step = min(self.step, step + 1)

    def parameter_norms(self) -> dict[str, float]:
        """Euclidean norm of each role's parameters; raises Diverged if one is not finite."""
        norms = {}
        for role, optimizer in self.variant.optimizers.items():
            parameters = [p.detach() for group in optimizer.param_groups for p in group["params"]]
            norm = float(torch.stack(torch._foreach_norm(parameters)).cpu().double().norm()) if parameters else 0.0
            if not math.isfinite(norm):
                raise Diverged(self.step, f"a parameter of {role}")
            norms[role] = nine_digits(norm)
        return norms

    def since(self, step: int) -> dict[str, Any]:
        """Mean losses, and median and largest gradient norms, of the steps from ``step`` on; update counts in all."""
        losses = {name: series.after(step) for name, series in self.losses.items()}
        norms = {role: series.after(step) for role, series in self.gradients.items()}
        return {
            "losses": {name: nine_digits(values.mean()) for name, values in losses.items() if values.size},
            "gradient_norms": {
                role: {"median": nine_digits(np.median(v)), "max": nine_digits(v.max())}
                for role, v in norms.items()
                if v.size
            },
            "updates": self.updates(),
        }

    def updates(self) -> dict[str, int]:
        """Optimizer steps so far, by role."""
        return {role: len(series.steps) for role, series in self.gradients.items()}

    def summary(self) -> dict[str, Any]:
        """The whole training: update counts, the gradient norm's median in each tenth, the share of spikes."""
        with contextlib.suppress(RuntimeError):  # a broken CUDA context cannot be read
            self._move()
        finite = {role: np.asarray([v for v in s.values if math.isfinite(v)]) for role, s in self.gradients.items()}
        return {
            "updates": self.updates(),
            "gradient_norm_tenths": {
                role: [nine_digits(np.median(part)) for part in np.array_split(v, 10)]
                for role, v in finite.items()
                if v.size >= 10
            },
            "gradient_spikes": {role: _spikes(values) for role, values in finite.items() if values.size},
            "first_nonfinite": None,
            **({"nondeterministic": sorted(self.nondeterministic)} if self.nondeterministic else {}),
        }

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        self._move()
        return {
            "step": self.step,
            "checked": self._checked,
            "nondeterministic": sorted(self.nondeterministic),
            **{
                kind: {name: _as_tensors(series) for name, series in table.items()}
                for kind, table in (("losses", self.losses), ("gradients", self.gradients))
            },
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what ``state`` returned."""
        self.step, self._checked = state["step"], state["checked"]
        self.nondeterministic.update(state["nondeterministic"])
        for kind, table in (("losses", self.losses), ("gradients", self.gradients)):
            table.clear()
            for name, saved in state[kind].items():
                table[name] = Series()
                table[name].steps, table[name].values = saved["steps"].tolist(), saved["values"].tolist()


def nine_digits(value: Any) -> float:
    """A number to nine digits, all that a float32 holds: what is measured in that precision has no more to record."""
    return float(f"{value:.9g}")


def _total_norm(norms: list[float]) -> float:
    """The norm of norms. An exact sum: a value must not depend on how many steps were moved together."""
    return math.sqrt(math.fsum(norm**2 for norm in norms))


def _shown(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _as_tensors(series: Series) -> dict[str, Tensor]:
    return {
        "steps": torch.tensor(series.steps, dtype=torch.int64),
        "values": torch.tensor(series.values, dtype=torch.float64),
    }


def _spikes(norms: np.ndarray) -> float:
    """Share of steps whose norm is over ten times the running median of the last 101 steps (from the 20th on)."""
    median = pd.Series(norms).rolling(SPIKE_WINDOW, min_periods=SPIKE_START).median().to_numpy()
    return float(np.mean(norms > SPIKE_FACTOR * np.where(np.isnan(median), np.inf, median)))
