"""Step size schedules against their formulas, and against torch's own cosine."""

from __future__ import annotations

import pytest
import torch

from ganbench.toolkit import scheduled, set_step_size


def test_schedules_begin_at_one_and_the_falling_ones_end_at_zero() -> None:
    for name in ("constant", "linear", "cosine"):
        assert scheduled(name, 0.0) == 1
        assert scheduled(name, 1.0) == pytest.approx(float(name == "constant"))
    assert scheduled("linear", 0.25) == 0.75


def test_cosine_is_torch_s() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for step in range(50):
        assert scheduled("cosine", step / 50) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_a_schedule_sets_in_late_and_is_warmed_up() -> None:
    found = [scheduled("linear", fraction, start=0.5) for fraction in (0.0, 0.4, 0.5, 0.75, 1.0)]
    assert found == pytest.approx([1, 1, 1, 0.5, 0])
    assert scheduled("linear", 0.9, start=1.0) == 1.0  # there is no rest to fall in
    warm = [scheduled("constant", fraction, warm_up=0.2) for fraction in (0.0, 0.1, 0.2, 0.9)]
    assert warm == pytest.approx([0, 0.5, 1, 1])
    assert scheduled("linear", 0.1, warm_up=0.2) == pytest.approx(0.5 * 0.9)


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(KeyError):
        scheduled("cubic", 0.5)  # type: ignore[arg-type]


def test_the_step_size_of_every_group_is_set() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    optimizer = torch.optim.Adam([{"params": parameters[:1]}, {"params": parameters[1:], "lr": 5.0}], lr=1.0)
    set_step_size(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
