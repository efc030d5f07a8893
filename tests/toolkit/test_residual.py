"""Residual blocks, conditional normalisation, attention and initialisations against their formulas."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional

from ganbench.toolkit import (
    ConditionalBatchNorm2d,
    GroupedResidual,
    ProjectionHead,
    ResidualDown,
    ResidualFeatures,
    ResidualGenerator,
    ResidualUp,
    SelfAttention,
    fixup_init,
    logits_and_squared_gradient,
    orthogonal_init,
    spectrally_normalised,
    squared_gradient,
)


def test_conditional_normalisation_is_batch_normalisation_with_a_scale_and_shift_for_each_condition() -> None:
    torch.manual_seed(0)
    layer, x = ConditionalBatchNorm2d(3, 4).double(), torch.randn(6, 3, 5, 2).double()
    classes = torch.eye(4).double()[torch.tensor([0, 1, 2, 3, 0, 1])]
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
    normal = (x - mean) / (variance + 1e-5).sqrt()
    y = layer(x, classes)
    for row, c in enumerate((0, 1, 2, 3, 0, 1)):
        scale, shift = layer.scale.weight[:, c, None, None], layer.shift.weight[:, c, None, None]
        torch.testing.assert_close(y[row], (1 + scale) * normal[row] + shift)
    torch.testing.assert_close(layer(x, torch.zeros(6, 4).double()), normal)  # no condition: plain normalisation


def test_attention_changes_nothing_at_first_and_then_is_torch_s_attention() -> None:
    torch.manual_seed(0)
    layer, x = SelfAttention(16).double(), torch.randn(2, 16, 4, 6).double()
    assert torch.equal(layer(x), x)
    with torch.no_grad():
        layer.gamma.fill_(0.7)
    flat = lambda f, pool: (functional.max_pool2d(f(x), 2) if pool else f(x)).flatten(2).transpose(1, 2)  # noqa: E731
    theirs = functional.scaled_dot_product_attention(
        flat(layer.query, False), flat(layer.key, True), flat(layer.value, True), scale=1.0
    )
    expected = x + 0.7 * layer.output(theirs.transpose(1, 2).reshape(2, 8, 4, 6))
    torch.testing.assert_close(layer(x), expected)


def test_up_blocks_are_the_paper_s_composition() -> None:
    torch.manual_seed(0)
    block, x, c = ResidualUp(4, 3, 2).double(), torch.randn(5, 4, 3, 2).double(), torch.randn(5, 2).double()
    doubled = lambda t: t.repeat_interleave(2, 2).repeat_interleave(2, 3)  # noqa: E731
    h = block.first(doubled(block.first_norm(x, c).relu()))
    expected = block.second(block.second_norm(h, c).relu()) + block.skip(doubled(x))
    torch.testing.assert_close(block(x, c), expected)


@pytest.mark.parametrize("first", [True, False])
def test_down_blocks_are_the_paper_s_composition(first: bool) -> None:
    torch.manual_seed(0)
    block, x = ResidualDown(4, 3, first=first).double(), torch.randn(5, 4, 6, 4).double()
    h = block.second(block.first(x if first else x.relu()).relu())
    halved = lambda t: t.unflatten(3, (2, 2)).unflatten(2, (3, 2)).mean((3, 5))  # noqa: E731
    torch.testing.assert_close(block(x), halved(h + block.skip(x)))
    kept = ResidualDown(4, 3, downsample=False)
    assert kept(x.float()).shape == (5, 3, 6, 4)


def test_the_projection_head_is_the_paper_s_equation_for_every_class() -> None:
    torch.manual_seed(0)
    head, h = ProjectionHead(5, 3), torch.randn(4, 5)
    for y in range(3):
        expected = head.psi(h).flatten() + (head.embedding.weight[y] * h).sum(1)
        torch.testing.assert_close(head(h)[:, y], expected)


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 64, 64), (1, 12, 20)])
def test_residual_networks_fit_every_shape_and_attend_to_maps_of_at_least_8x8(
    shape: tuple[int, ...], attention: bool
) -> None:
    torch.manual_seed(0)
    g = ResidualGenerator(shape, 4, 3, 8, attention)
    sides: list[int] = []
    for module in g.modules():
        if isinstance(module, SelfAttention):
            module.register_forward_hook(lambda layer, inputs, output: sides.append(min(output.shape[2:])))
    images = g(torch.randn(2, 4), torch.randn(2, 3))
    assert images.shape == (2, *shape) and images.abs().max() <= 1
    assert len(sides) == attention and all(side >= 8 for side in sides)
    d = ResidualFeatures(shape, 8, attention)
    assert d(images).shape == (2, d.features)


def test_a_grouped_block_is_the_identity_at_first_and_its_other_layers_are_scaled_by_depth() -> None:
    torch.manual_seed(0)
    block = GroupedResidual(64, blocks=16)
    x = torch.randn(2, 64, 4, 4)
    assert torch.equal(block(x), x)
    he = (2 / (1 + 0.2**2)) ** 0.5
    assert block.expand.weight.std().item() == pytest.approx(he / 64**0.5 * 16**-0.25, rel=0.03)
    assert block.mix.groups == 8
    assert block.mix.weight.std().item() == pytest.approx(he / (16 * 9) ** 0.5 * 16**-0.25, rel=0.03)


def test_fixup_keeps_the_first_update_of_a_deep_network_as_large_as_that_of_a_shallow_one() -> None:
    """What the initialisation is for: without the factor, the change grows with the number of blocks."""

    def change(blocks: int, scaled: bool) -> float:
        torch.manual_seed(0)
        layers = [
            nn.ModuleList([nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 32, bias=False)]) for _ in range(blocks)
        ]
        for branch in layers:
            fixup_init(list(branch), blocks if scaled else 1)

        def network(x: torch.Tensor) -> torch.Tensor:
            for a, b, c in layers:
                x = x + c(b(a(x).relu()).relu())
            return x

        x, target = torch.randn(64, 32), torch.randn(64, 32)
        before = network(x)
        parameters = [p for branch in layers for p in branch.parameters()]
        gradients = torch.autograd.grad((before * target).sum() / 64, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= 1e-3 * gradient
            return (network(x) - before).norm().item()

    assert change(64, scaled=True) == pytest.approx(change(4, scaled=True), rel=0.5)
    assert change(64, scaled=False) > 5 * change(4, scaled=False)


def test_orthogonal_weights_keep_lengths() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(6, 6))
    orthogonal_init(network)
    for layer, side in ((network[0], 8), (network[1], 6)):
        weight = layer.weight.flatten(1)
        torch.testing.assert_close(weight @ weight.T, torch.eye(side), atol=1e-5, rtol=0)
        assert not layer.bias.any()


def test_logits_and_their_gradients_come_from_one_pass_with_the_values_of_two() -> None:
    torch.manual_seed(0)
    d, x, calls = nn.Sequential(nn.Linear(3, 8), nn.Softplus(), nn.Linear(8, 1)), torch.randn(5, 3), []

    def judge(samples: torch.Tensor) -> torch.Tensor:
        calls.append(len(samples))
        return d(samples).flatten()

    logits, squared = logits_and_squared_gradient(judge, x)
    assert calls == [5]
    torch.testing.assert_close(logits, judge(x))
    torch.testing.assert_close(squared, squared_gradient(judge, x))
    loss = lambda found: found[0].mean() + found[1].mean()  # noqa: E731
    ours = torch.autograd.grad(loss((logits, squared)), list(d.parameters()), allow_unused=True)
    theirs = torch.autograd.grad(loss((judge(x), squared_gradient(judge, x))), list(d.parameters()), allow_unused=True)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_a_spectrally_normalised_network_survives_pickling_and_copying() -> None:
    torch.manual_seed(0)
    network = spectrally_normalised(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 5)))
    x = torch.randn(3, 1, 4, 4)
    for other in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
        state, kept = network.state_dict(), other.state_dict()
        assert list(state) == list(kept) and all(torch.equal(state[name], kept[name]) for name in state)
        assert len(list(other.parameters())) == 4 and other.training
        original = copy.deepcopy(network)
        for _ in range(3):  # u moves on alike
            assert torch.equal(original(x), other(x))
        assert torch.equal(pickle.loads(pickle.dumps(other)).eval()(x), other.eval()(x))
