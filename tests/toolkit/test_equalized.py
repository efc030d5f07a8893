"""Blocks of progressive and style-based GANs against their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from ganbench.toolkit import (
    EqualizedConv2d,
    EqualizedLinear,
    MinibatchStdDev,
    PixelNorm,
    frozen_copy,
    move_average,
    pyramid,
    squared_gradient,
    warm_decay,
)


def test_weights_start_standard_normal_and_are_scaled_at_run_time() -> None:
    torch.manual_seed(0)
    linear, conv = EqualizedLinear(300, 200), EqualizedConv2d(32, 64)
    for layer, fan_in in ((linear, 300), (conv, 32 * 9)):
        assert layer.weight.std().item() == pytest.approx(1, rel=0.02)
        assert not layer.bias.any()
        assert layer.scale == pytest.approx(math.sqrt(2 / fan_in))
    x, image = torch.randn(4, 300), torch.randn(4, 32, 6, 5)
    torch.testing.assert_close(linear(x), x @ (linear.weight * math.sqrt(2 / 300)).T)
    torch.testing.assert_close(conv(image), functional.conv2d(image, conv.weight * math.sqrt(2 / 288), padding=1))
    assert EqualizedConv2d(8, 3, 1, gain=1).scale == pytest.approx(math.sqrt(1 / 8))
    assert EqualizedConv2d(8, 3, 1)(torch.zeros(1, 8, 5, 7)).shape == (1, 3, 5, 7)


@pytest.mark.parametrize("inputs", [3, 700])
@pytest.mark.parametrize("rate", [1.0, 0.01])
def test_a_step_of_adam_moves_every_layer_by_the_same_share_of_its_range(inputs: int, rate: float) -> None:
    torch.manual_seed(0)
    layer = EqualizedLinear(inputs, 500, rate=rate, bias=2.0)
    effective = lambda: layer(torch.eye(inputs)).detach() - layer(torch.zeros(1, inputs)).detach()  # noqa: E731
    before, bias = effective(), layer(torch.zeros(1, inputs)).detach()
    he = math.sqrt(2 / inputs)
    assert before.std().item() == pytest.approx(he, rel=0.05)
    torch.testing.assert_close(bias, torch.full((1, 500), 2.0))
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    layer(torch.rand(8, inputs) + 0.1).sum().backward()
    optimizer.step()
    torch.testing.assert_close(before - effective(), torch.full_like(before, 0.1 * rate * he), rtol=1e-3, atol=1e-6)


def test_resampling_layers_are_the_two_steps_in_one() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 6, 8, dtype=torch.float64)
    up, down = (EqualizedConv2d(5, 3, resample=way).double() for way in ("up", "down"))
    for layer in (up, down):
        nn.init.normal_(layer.bias)
    plain = lambda layer, x: functional.conv2d(x, layer.weight * layer.scale, layer.bias, padding=1)  # noqa: E731
    torch.testing.assert_close(up(x), plain(up, functional.interpolate(x, scale_factor=2.0)))
    torch.testing.assert_close(down(x), functional.avg_pool2d(plain(down, x), 2))
    with pytest.raises(ValueError, match="kernel of 3, not 1"):
        EqualizedConv2d(5, 3, 1, resample="up")


def test_pixel_norm_makes_the_mean_square_of_channels_one() -> None:
    x = torch.randn(3, 7, 4, 5) * 10
    expected = x / torch.from_numpy(np.sqrt(np.square(x.numpy()).mean(1, keepdims=True) + 1e-8))
    torch.testing.assert_close(PixelNorm()(x), expected)
    torch.testing.assert_close(PixelNorm()(torch.tensor([[3.0, 4.0]])), torch.tensor([[3.0, 4.0]]) / math.sqrt(12.5))


def test_minibatch_standard_deviation_is_one_more_constant_channel() -> None:
    x = torch.randn(6, 3, 4, 5) * torch.tensor([1.0, 2.0, 5.0])[:, None, None]
    y = MinibatchStdDev()(x)
    assert torch.equal(y[:, :3], x)
    torch.testing.assert_close(y[:, 3], torch.full((6, 4, 5), float(x.numpy().std(0).mean())))
    same = MinibatchStdDev()(x[:1].expand(6, -1, -1, -1))
    torch.testing.assert_close(same[:, 3], torch.full((6, 4, 5), 1e-4))  # sqrt(1e-8): a collapsed batch shows


def test_a_gradient_penalty_reaches_the_weights_of_every_layer() -> None:
    """Second derivatives of all blocks, as R1 needs them, against differences."""
    torch.manual_seed(0)
    judge = nn.Sequential(
        EqualizedConv2d(1, 2, resample="down"),
        PixelNorm(),
        EqualizedConv2d(2, 2, resample="up"),
        MinibatchStdDev(),
        nn.Flatten(),
        EqualizedLinear(48, 1),
    ).double()
    x = torch.randn(3, 1, 4, 4, dtype=torch.float64)
    penalty = lambda: squared_gradient(lambda x: judge(x).flatten(), x).mean()  # noqa: E731
    weights = [p for p in judge.parameters() if p.dim() > 1]
    for weight, gradient in zip(weights, torch.autograd.grad(penalty(), weights), strict=True):
        place = (0,) * weight.dim()
        with torch.no_grad():
            weight[place] += 1e-5
            high = penalty()
            weight[place] -= 2e-5
            low = penalty()
            weight[place] += 1e-5
        assert gradient[place].item() == pytest.approx(((high - low) / 2e-5).item(), rel=1e-4, abs=1e-9)
        assert gradient.abs().max() > 1e-3


def test_pyramids_double_channels_as_sides_halve() -> None:
    assert pyramid((1, 28, 28), 16) == [(64, 7, 7), (32, 14, 14), (16, 28, 28)]
    assert pyramid((3, 8, 8), 16) == [(32, 4, 4), (16, 8, 8)]
    assert pyramid((1, 12, 20), 16) == [(32, 6, 10), (16, 12, 20)]
    assert pyramid((3, 64, 64), 8) == [(64, 4, 4), (64, 8, 8), (32, 16, 16), (16, 32, 32), (8, 64, 64)]  # a limit


def test_an_average_follows_its_formula_and_copies_buffers() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average = frozen_copy(network)
    assert not any(p.requires_grad for p in average.parameters())
    assert all(p.requires_grad for p in network.parameters())
    expected = network[0].weight.detach().clone()
    for _ in range(5):
        with torch.no_grad():
            network[0].weight.normal_()
        network(torch.randn(9, 3))
        expected = 0.7 * expected + 0.3 * network[0].weight.detach()
        move_average(average, network, 0.7)
    torch.testing.assert_close(average[0].weight, expected)
    assert not average[0].weight.requires_grad
    assert torch.equal(average[1].running_mean, network[1].running_mean)
    assert average[1].num_batches_tracked == 5
    move_average(average, network, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(average.parameters(), network.parameters(), strict=True))


def test_the_memory_of_an_average_grows_with_training() -> None:
    assert [warm_decay(0.99, step) for step in (0, 8, 10_000)] == [0.1, 0.5, 0.99]
