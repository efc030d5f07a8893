"""Step sizes over a training, as functions of the share of the budget that is spent.

Each returns the factor by which an optimizer's step size is multiplied. ``clock.fraction`` of ``train_step`` is the
share, so that a schedule needs no number of steps and survives a resume without state.
"""

from __future__ import annotations

import math
from typing import Literal

from torch.optim import Optimizer

Schedule = Literal["constant", "linear", "cosine"]


def constant(fraction: float) -> float:
    """1 throughout."""
    return 1.0


def linear(fraction: float) -> float:
    """From 1 to 0 in a straight line: ``1 - fraction``."""
    return 1.0 - fraction


def cosine(fraction: float) -> float:
    """From 1 to 0 along half a cosine: ``(1 + cos(pi fraction)) / 2`` (Loshchilov and Hutter 2017, equation 5)."""
    return (1 + math.cos(math.pi * fraction)) / 2


SCHEDULES = {"constant": constant, "linear": linear, "cosine": cosine}


def scheduled(name: Schedule, fraction: float, start: float = 0.0, warm_up: float = 0.0) -> float:
    """The factor of a schedule that sets in late and is warmed up.

    Args:
        name: of the schedule, such as a hyperparameter holds it.
        fraction: share of the budget that is spent, in [0, 1).
        start: share before which the factor stays 1; the schedule runs over the rest. From 1 on there is none.
        warm_up: share in which the factor rises from 0 to 1 in a straight line.
    """
    factor = SCHEDULES[name](max(0.0, fraction - start) / (1 - start)) if start < 1 else 1.0
    return factor * min(1.0, fraction / warm_up) if warm_up else factor


def set_step_size(optimizer: Optimizer, lr: float) -> None:
    """Set the step size of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = lr
