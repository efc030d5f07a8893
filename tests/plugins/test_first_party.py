"""First-party variants: every shape they claim, the contract's properties, and real learning."""

from __future__ import annotations

import pytest
import torch
from ganbench_plugins.dcgan import DCGAN
from ganbench_plugins.noise import Noise
from ganbench_plugins.vanilla import Vanilla

from ganbench.hyperparameters import hyperparameters
from ganbench.plugin import Batch, Clock, Unsuitable, Variant
from ganbench.seeding import seed_everything

IMAGES = [(1, 8, 8), (3, 8, 8), (1, 12, 20), (1, 28, 28), (3, 32, 32), (1, 36, 36), (1, 48, 48), (3, 64, 64)]
POINTS = [(2,)]
CASES = [(cls, shape) for cls in (DCGAN, Vanilla, Noise) for shape in IMAGES + (POINTS if cls is not DCGAN else [])]


@pytest.mark.parametrize(
    ("cls", "shape"), CASES, ids=lambda v: v.__name__ if isinstance(v, type) else "x".join(map(str, v))
)
def test_it_trains_and_samples_on_every_shape_it_claims(cls: type[Variant], shape: tuple[int, ...]) -> None:
    seed_everything(0)
    variant = cls(torch.Size(shape))
    losses = variant.train_step(Batch(torch.rand(4, *shape) * 2 - 1), Clock(0, 0, 8, 0.0, False))
    assert all(torch.isfinite(value) and value.dim() == 0 for value in losses.values())
    variant.eval()
    state = torch.get_rng_state()
    first, again = (variant.sample(3, torch.Generator().manual_seed(1)) for _ in range(2))
    assert first.shape == (3, *shape) and first.dtype == torch.float32
    assert torch.equal(first, again) and torch.equal(torch.get_rng_state(), state)
    if len(shape) == 3:
        assert first.min() >= -1 and first.max() <= 1
    if variant.score_real is not None:
        assert variant.score_real(first).shape == (3,)


@pytest.mark.parametrize("cls", [DCGAN, Vanilla])
def test_each_sample_depends_on_its_own_latent_alone(cls: type[Variant]) -> None:
    variant = cls(torch.Size((1, 8, 8))).eval()
    z = variant.latent(6, torch.Generator().manual_seed(0))
    torch.testing.assert_close(variant.generate(z)[2:3], variant.generate(z[2:3]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls", [DCGAN, Vanilla])
def test_every_trainable_parameter_is_in_one_optimizer_and_every_hyperparameter_is_documented(
    cls: type[Variant],
) -> None:
    variant = cls(torch.Size((1, 8, 8)))
    held = [id(p) for o in variant.optimizers.values() for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in variant.parameters() if p.requires_grad)
    for h in hyperparameters(cls).values():
        assert h.help and h.range is not None and h.default in h.range
        assert getattr(variant, h.name) == h.default


@pytest.mark.parametrize("shape", [(2,), (1, 9, 9), (1, 4, 4), (1, 128, 128)])
def test_dcgan_says_what_does_not_suit_it(shape: tuple[int, ...]) -> None:
    with pytest.raises(Unsuitable, match="dcgan"):
        DCGAN(torch.Size(shape))


def test_dcgan_is_built_as_the_paper_says() -> None:
    variant = DCGAN(torch.Size((3, 64, 64)), width=64)
    g, d = variant.generator, variant.discriminator
    count = lambda net, kind: sum(isinstance(m, kind) for m in net.modules())  # noqa: E731
    assert count(g, torch.nn.ConvTranspose2d) == count(d, torch.nn.Conv2d) == 4
    assert (count(g, torch.nn.BatchNorm2d), count(d, torch.nn.BatchNorm2d)) == (4, 3)  # none at D's input
    assert g(torch.zeros(2, 64)).shape == (2, 3, 64, 64)
    weights = torch.cat([m.weight.detach().flatten() for m in d.modules() if isinstance(m, torch.nn.Conv2d)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.05)
    assert variant.optimizers["generator"].param_groups[0]["betas"] == (0.5, 0.999)


def test_they_learn_and_noise_does_not(ganbench, tmp_path) -> None:
    """A few seconds of real training on real digits: both GANs end far below noise, and noise stays where it is."""
    import pandas as pd

    result = ganbench(
        "run",
        "--plugins",
        "dcgan,vanilla,noise",
        "--seeds",
        "2",
        "--images",
        "38400",
        "--evaluations",
        "2",
        "--metrics",
        "fid,recall",
    )
    assert result.returncode == 0, result.stderr
    board = pd.read_csv(tmp_path / "results/leaderboard.csv").set_index("variant")
    assert board.loc["dcgan", "fid_high"] < 0.3 * board.loc["noise", "fid_low"]
    assert board.loc["vanilla", "fid_high"] < 0.75 * board.loc["noise", "fid_low"]
    assert board.loc["dcgan", "recall"] > 0.7
    assert board.loc["noise", "fid_high"] / board.loc["noise", "fid_low"] < 1.2
