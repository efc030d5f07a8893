"""Class-conditional variants: closed forms of their losses, truncation, and that samples show the class asked for."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from ganbench_plugins.acgan import ACGAN
from ganbench_plugins.biggan import BigGAN
from ganbench_plugins.reacgan import ReACGAN, data_to_data_cross_entropy
from torch import Tensor
from torch.nn import functional

from ganbench.plugin import Batch
from ganbench.toolkit import ConditionalGAN, hinge_discriminator_loss

IMAGE = torch.Size((1, 8, 8))


def batch(n: int = 12) -> Batch:
    rng = torch.Generator().manual_seed(0)
    return Batch(torch.rand(n, *IMAGE, generator=rng) * 2 - 1, torch.randint(3, (n,), generator=rng))


def test_the_data_to_data_cross_entropy_is_its_equation() -> None:
    torch.manual_seed(0)
    f = functional.normalize(torch.randn(7, 4).double(), dim=1)
    v = functional.normalize(torch.randn(3, 4).double(), dim=1)
    y, tau, m_p = torch.tensor([0, 1, 2, 0, 1, 1, 2]), 0.5, 0.9
    total = 0.0
    for i in range(7):
        positive = math.exp(min(float(f[i] @ v[y[i]]) - m_p, 0) / tau)
        negatives = sum(math.exp(max(float(f[i] @ f[j]) - (1 - m_p), 0) / tau) for j in range(7) if y[j] != y[i])
        total -= math.log(positive / (positive + negatives))
    assert data_to_data_cross_entropy(f, v, y, tau, m_p).item() == pytest.approx(total / 7)


def test_pairs_that_are_right_beyond_the_margins_have_no_gradient() -> None:
    proxies = torch.eye(2)
    f = torch.tensor([[0.995, 0.0], [0.0, 0.995]], requires_grad=True)
    data_to_data_cross_entropy(f, proxies, torch.tensor([0, 1]), 0.5, 0.98).backward()
    assert f.grad is not None and not f.grad.any()


def test_acgan_adds_torch_s_cross_entropies_of_the_class_in_both_phases() -> None:
    torch.manual_seed(0)
    variant = ACGAN(IMAGE, classes=3, weight=0.7).eval()
    real, fake = batch(), Batch(-batch().data, batch().labels)
    outputs = [variant.discriminator(side.data) for side in (real, fake)]
    entropies = [functional.cross_entropy(out[:, 1:], real.labels) for out in outputs]
    source = variant.discriminator_loss(outputs[0][:, 0], outputs[1][:, 0])
    torch.testing.assert_close(variant.discriminator_phase(real, fake), source + 0.7 * sum(entropies))
    g = functional.softplus(-outputs[1][:, 0]).mean() + 0.7 * entropies[1]
    torch.testing.assert_close(variant.generator_phase(real, fake), g)


def test_biggan_judges_a_sample_with_its_class_and_without_one_by_all_of_them() -> None:
    torch.manual_seed(0)
    variant = BigGAN(IMAGE, classes=3).eval()
    data, labels = batch()
    logits = torch.stack([variant.judge(Batch(data, torch.full_like(labels, y))) for y in range(3)], 1)
    torch.testing.assert_close(variant.judge(batch()), logits[torch.arange(len(data)), labels])
    torch.testing.assert_close(variant.judge(Batch(data)), logits.exp().sum(1).log())
    real, fake = variant.judge(batch()), variant.judge(Batch(-data, labels))
    phase = variant.discriminator_phase(batch(), Batch(-data, labels))
    torch.testing.assert_close(phase, hinge_discriminator_loss(real, fake))


@pytest.mark.parametrize("cls", [ACGAN, BigGAN, ReACGAN])
def test_truncated_latents_are_normal_within_the_limit_and_only_in_samples(cls: type[ConditionalGAN]) -> None:
    variant = cls(torch.Size((2,)), classes=4, truncation=0.5, latent_dim=16)

    def z(training: bool) -> Tensor:
        return variant.train(training).latent(4000, torch.Generator().manual_seed(0))[:, :16]

    assert z(True).abs().max() > 3
    cut = z(False)
    assert 0.49 < cut.abs().max() <= 0.5
    phi, mass = math.exp(-0.125) / math.sqrt(2 * math.pi), math.erf(0.5 / math.sqrt(2))
    assert cut.var().item() == pytest.approx(1 - 2 * 0.5 * phi / mass, rel=0.02)  # of a truncated normal
    assert cut.mean().item() == pytest.approx(0, abs=0.01)


# Class-conditional scales and shifts are learnt late where D's classifier has to learn first.
@pytest.mark.parametrize(("cls", "images"), [(ACGAN, 32_000), (BigGAN, 16_000), (ReACGAN, 32_000)])
def test_samples_show_the_class_that_they_were_asked_for(
    cls: type[ConditionalGAN], images: int, digits_trained: Any
) -> None:
    """Half a minute of training: the classifier of the digits finds the class that z names."""
    from ganbench.extractors.classifier import ganbench_extractors

    classify = next(e for e in ganbench_extractors() if e.name == "digits-cnn")
    variant = digits_trained(cls, images)
    z = variant.latent(500, torch.Generator().manual_seed(0))
    with torch.no_grad():
        fake = variant.fake(z)
        found = classify((fake.data + 1) * 127.5)[1].argmax(1)
    assert fake.labels is not None and fake.labels.unique().tolist() == list(range(10))
    assert (found == fake.labels).float().mean() > 0.9
