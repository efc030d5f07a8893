"""Augmentations against closed forms: the identity, the rates, what each change does, and the rule that moves p."""

from __future__ import annotations

import math

import pytest
import torch
from ganbench_plugins.biggan import BigGAN
from ganbench_plugins.pacgan import PacGAN
from ganbench_plugins.r3gan import R3GAN
from torch import Tensor, nn

from ganbench.plugin import GAN, Batch, Clock
from ganbench.toolkit import (
    Augment,
    adaptive_augmentation,
    augmentation,
    differentiable_augmentation,
    squared_gradient,
)
from ganbench.toolkit.augmentation import _interpolate

SHAPES = [(1, 8, 8), (3, 8, 8), (3, 32, 48)]


def images(shape: tuple[int, ...] = (3, 8, 8), n: int = 6) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def clock(step: int = 1, steps: int = 100) -> Clock:
    return Clock(step, step * 8, steps * 8, step / steps, step == steps - 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_with_probability_0_every_image_stays_as_it_is_to_the_bit(shape: tuple[int, ...]) -> None:
    x = images(shape)
    assert torch.equal(adaptive_augmentation(x, torch.tensor(0.0)), x)
    assert not torch.equal(adaptive_augmentation(x, torch.tensor(1.0)), x)
    assert not torch.equal(differentiable_augmentation(x), x)


@pytest.mark.parametrize("kind", ["none", "diffaug", "ada"])
def test_in_eval_mode_images_pass_and_no_random_number_is_drawn(kind: str) -> None:
    layer, x = Augment(kind), images()  # type: ignore[arg-type]
    layer.p.fill_(0.5)
    state = torch.get_rng_state()
    assert torch.equal(layer.eval()(x), x) and torch.equal(torch.get_rng_state(), state)
    assert torch.equal(layer.train()(x), x) == (kind == "none")


@pytest.mark.parametrize("kind", ["diffaug", "ada"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_change_depends_on_torch_s_global_generator_alone(kind: str, shape: tuple[int, ...]) -> None:
    layer, x = Augment(kind), images(shape)  # type: ignore[arg-type]
    layer.p.fill_(0.7)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(layer(x))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    assert found[0].shape == x.shape and torch.isfinite(found[0]).all()


@pytest.mark.parametrize("kind", ["diffaug", "ada"])
def test_gradients_and_penalties_on_them_go_through_as_finite_differences_say(kind: str) -> None:
    torch.manual_seed(0)
    layer = Augment(kind).double()  # type: ignore[arg-type]
    layer.p.fill_(0.6)
    x = images().double()[:2].requires_grad_()

    def changed(value: Tensor) -> Tensor:
        torch.manual_seed(3)
        return layer(value)

    assert torch.autograd.gradcheck(changed, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(changed, x, fast_mode=True)
    d = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.Softplus(), nn.Linear(4, 1)).double()
    squared_gradient(lambda value: d(changed(value)).flatten(), x.detach()).mean().backward()
    assert d[1].weight.grad is not None and d[1].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_each_change_of_ada_comes_with_its_probability(p: float) -> None:
    """On constant images only brightness and contrast act: both stay away with (1 - p)^2."""
    torch.manual_seed(0)
    x = torch.ones(20_000, 1, 8, 8)
    y = adaptive_augmentation(x, torch.tensor(p))
    same = (y == x).flatten(1).all(1).double().mean().item()
    assert same == pytest.approx((1 - p) ** 2, abs=0.01)


def test_changes_of_place_come_with_their_probabilities() -> None:
    """Of random images those stay in place for which no change is drawn, or one that does nothing.

    A flip (1/2), a turn (1/4) and shifts by up to a pixel along two axes (1/3 each) do nothing with these chances.
    """
    torch.manual_seed(0)
    p, x = 0.3, images((1, 8, 8), 1).expand(20_000, -1, -1, -1)
    y = adaptive_augmentation(x, torch.tensor(p))
    centred = lambda t: (t - t.mean((1, 2, 3), keepdim=True)) / t.std((1, 2, 3), keepdim=True)  # noqa: E731
    still = ((centred(y) - centred(x)).abs().amax((1, 2, 3)) < 1e-3).double().mean().item()
    q = 1 - p
    expected = (q + p / 2) * (q + p / 4) * (q + p / 3) ** 2 * q**4  # scale, angle, two fractional shifts
    assert still == pytest.approx(expected, abs=0.015)


def test_the_strengths_of_ada_are_the_paper_s() -> None:
    """Brightness N(0, 0.2^2), contrast 2^N(0, 0.5^2), read off images of two values."""
    torch.manual_seed(0)
    x = torch.ones(20_000, 1, 8, 8)
    ones = adaptive_augmentation(x, torch.tensor(1.0))[:, 0, 0, 0]
    # (1 + b) c: E c = exp((0.5 ln 2)^2 / 2), E c^2 = exp(2 (0.5 ln 2)^2)
    s = 0.5 * math.log(2)
    assert ones.mean().item() == pytest.approx(math.exp(s * s / 2), abs=0.01)
    second = (1 + 0.04) * math.exp(2 * s * s)
    assert ones.square().mean().item() == pytest.approx(second, abs=0.03)


def drawing(monkeypatch: pytest.MonkeyPatch, uniform: list[float], normal: float = 0.0) -> None:
    """Let the augmentations draw these uniform numbers one after the other, and this normal one every time."""
    draws = iter(uniform)
    monkeypatch.setattr(augmentation, "_uniform", lambda x: lambda: torch.full_like(x[:, :1, :1, :1], next(draws)))
    monkeypatch.setattr(torch, "randn_like", lambda x: torch.full_like(x, normal))


def shifted(x: Tensor, down: int, right: int) -> Tensor:
    """Images moved by whole pixels; what comes in is the nearest edge's."""
    padded = nn.functional.pad(x, (2, 2, 2, 2), mode="replicate")
    return padded[..., 2 - down : padded.shape[2] - 2 - down, 2 - right : padded.shape[3] - 2 - right]


def warped(x: Tensor, matrix: list[list[float]]) -> Tensor:
    """Images seen through a linear map of places about the centre, by torch's own interpolation."""
    theta = torch.tensor([[*row, 0.0] for row in matrix]).expand(len(x), 2, 3)
    grid = nn.functional.affine_grid(theta, list(x.shape), align_corners=True)
    return nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=True)


GREY = images().mean(1, keepdim=True)
HALF, ZOOM = math.sqrt(0.5), 2**-0.2
# Each change of ADA: the number of its draw "is it chosen", the draws of its size, and what one deviation of it does.
ADA = {
    "flip": (1, {0: 0.1}, lambda x: x.flip(3)),
    "quarter turn": (3, {2: 0.3}, lambda x: x.rot90(-1, (2, 3))),
    "pixels down": (5, {4: 0.99}, lambda x: shifted(x, 1, 0)),
    "pixels right": (7, {6: 0.99}, lambda x: shifted(x, 0, 1)),
    "scale": (8, {}, lambda x: warped(x, [[ZOOM, 0.0], [0.0, ZOOM]])),
    "angle": (10, {9: 0.625}, lambda x: warped(x, [[HALF, HALF], [-HALF, HALF]])),
    "fraction down": (11, {}, lambda x: shifted(x, 1, 0)),
    "fraction right": (12, {}, lambda x: shifted(x, 0, 1)),
    "brightness": (13, {}, lambda x: x + 0.2),
    "contrast": (14, {}, lambda x: x * math.sqrt(2)),
    "saturation": (15, {}, lambda x: GREY + 2 * (x - GREY)),
}


@pytest.mark.parametrize("change", ADA)
def test_each_change_of_ada_has_the_strength_of_its_paper(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, sizes, expected = ADA[change]
    drawing(monkeypatch, [0.0 if i == chosen else sizes.get(i, 1.0 if i % 2 or i > 7 else 0.9) for i in range(16)], 1.0)
    x = images()
    torch.testing.assert_close(adaptive_augmentation(x, torch.tensor(0.5)), expected(x), atol=1e-5, rtol=1e-5)


# Each change of DiffAugment: the number of its draw, the draw, and what it does.
DIFF = {
    "brightness": (0, 1.0, lambda x: x + 0.5),
    "darkness": (0, 0.0, lambda x: x - 0.5),
    "no saturation": (1, 0.0, lambda x: GREY.expand_as(x)),
    "saturation": (1, 1.0, lambda x: GREY + 2 * (x - GREY)),
    "contrast": (2, 1.0, lambda x: x.mean((1, 2, 3), True) + 1.5 * (x - x.mean((1, 2, 3), True))),
    "less contrast": (2, 0.0, lambda x: x.mean((1, 2, 3), True) + 0.5 * (x - x.mean((1, 2, 3), True))),
    "down": (3, 0.99, lambda x: nn.functional.pad(x, (0, 0, 1, 0))[:, :, :-1]),
    "left": (4, 0.0, lambda x: nn.functional.pad(x, (0, 1))[..., 1:]),
}


@pytest.mark.parametrize("change", DIFF)
def test_each_change_of_diffaugment_has_the_strength_of_its_paper(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, draw, expected = DIFF[change]
    usual = [0.5, 0.5, 0.5, 0.5, 0.5, 0.0, 0.0]  # nothing changes; the square's centre is in a corner
    drawing(monkeypatch, [draw if i == place else one for i, one in enumerate(usual)])
    x = images()
    wanted = expected(x).clone()
    wanted[:, :, :2, :2] = 0
    torch.testing.assert_close(differentiable_augmentation(x), wanted)


def test_interpolation_is_torch_s_and_exact_at_pixels() -> None:
    x = images((2, 5, 7), 3).double()
    rng = torch.Generator().manual_seed(1)
    rows = torch.rand(3, 1, 5, 7, generator=rng).double() * 7 - 1.5
    columns = torch.rand(3, 1, 5, 7, generator=rng).double() * 9 - 1.5
    grid = torch.stack([columns[:, 0] / 3 - 1, rows[:, 0] / 2 - 1], 3)
    theirs = nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=True)
    torch.testing.assert_close(_interpolate(x, rows, columns), theirs)


def test_diffaugment_has_the_ranges_of_its_paper() -> None:
    torch.manual_seed(0)
    n = 20_000
    ramp = torch.linspace(-1, 1, 64).view(1, 1, 8, 8).expand(n, -1, -1, -1)
    y = differentiable_augmentation(ramp)
    zero = (y == 0).flatten(1).sum(1)
    # A square of 4x4 whose centre is anywhere in [0, 8]^2, and up to a row and a column that came from outside.
    assert zero.min() >= 4 and zero.max() <= 16 + 15
    kept = (y != 0).flatten(2)
    steps = (y.flatten(2)[:, :, 1:] - y.flatten(2)[:, :, :-1])[kept[:, :, 1:] & kept[:, :, :-1]]
    contrast = steps[(steps > 0) & (steps < 0.06)] * 63 / 2  # of neighbours in a row
    assert contrast.min().item() == pytest.approx(0.5, abs=0.01)
    assert contrast.max().item() == pytest.approx(1.5, abs=0.01)


def test_saturation_leaves_greys_alone() -> None:
    torch.manual_seed(0)
    grey = images((1, 8, 8), 50).expand(-1, 3, -1, -1)
    for y in (differentiable_augmentation(grey), adaptive_augmentation(grey, torch.tensor(1.0))):
        torch.testing.assert_close(y[:, 0], y[:, 1])


@pytest.mark.parametrize(("sure", "moves"), [(0.61, 1), (0.59, -1), (1.0, 1), (-1.0, -1)])
def test_p_moves_up_where_d_is_surer_than_the_target_and_down_where_it_is_less(sure: float, moves: int) -> None:
    layer = Augment("ada", target=0.6)
    layer.p.fill_(0.4)
    n = 200
    logits = torch.ones(n)
    logits[: round(n * (1 - sure) / 2)] = -1  # E[sign] = sure
    layer.observe(logits * 7)
    assert layer.r.item() == pytest.approx(sure)
    layer.adapt(clock(step=10, steps=100))
    assert layer.p.item() == pytest.approx(0.4 + moves * 0.01 / 0.25)  # a hundredth of the budget a step


def test_p_stays_between_0_and_its_limit_and_moves_for_ada_alone() -> None:
    for kind, sure, expected in (("ada", 1.0, 0.8), ("ada", -1.0, 0.0), ("diffaug", 1.0, 0.0), ("none", 1.0, 0.0)):
        layer = Augment(kind)  # type: ignore[arg-type]
        for step in range(100):
            layer.observe(torch.full((4,), sure))
            layer.adapt(clock(step))
        assert layer.p.item() == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["diffaug", "ada"])
def test_each_sample_of_a_pack_is_changed_by_itself(kind: str) -> None:
    variant = PacGAN(torch.Size((1, 8, 8)), augment=kind)
    layer, network = variant.discriminator  # type: ignore[misc]
    layer.p.fill_(0.8)
    seen: list[Tensor] = []
    network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    x = images((1, 8, 8), 8)
    torch.manual_seed(3)
    changed = layer(x)
    torch.manual_seed(3)
    variant.judge(Batch(x))
    assert torch.equal(seen[0], torch.cat([changed, changed.roll(-1, 0)], 1)) and not torch.equal(changed, x)


@pytest.mark.parametrize("cls", [R3GAN, BigGAN])
def test_a_variant_s_d_is_shown_changed_images_in_training_and_real_ones_when_it_is_scored(cls: type[GAN]) -> None:
    classes = {} if cls is R3GAN else {"classes": 3}
    data = Batch(images((1, 8, 8), 8), torch.arange(8) % 3)
    torch.manual_seed(0)
    variant = cls(torch.Size((1, 8, 8)), augment="ada", **classes)
    for step in range(3):
        variant.train_step(data, clock(step))
    layer = variant.discriminator[0]  # type: ignore[index]
    assert isinstance(layer, Augment) and -1 <= layer.r <= 1
    layer.p.fill_(0.8)
    variant.train()
    changed = [variant.judge(data) for _ in range(2)]
    assert not torch.equal(*changed)
    variant.eval()
    assert torch.equal(variant.score_real(data.data), variant.score_real(data.data))
