"""One evaluation: what is drawn from which stream, what the discriminator is asked, and under whose settings."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from ganbench.harness.evaluation import Evaluator, draw_samples, eval_mode
from ganbench.harness.metric_values import InvalidOutput
from ganbench.harness.real_data import RealData
from ganbench.harness.telemetry import Diverged, Telemetry
from ganbench.metrics import frechet_distance
from ganbench.metrics.frechet import FrechetInceptionDistance
from ganbench.plugin.interfaces import Dataset, Extractor, Metric
from ganbench.plugin.variant import Variant
from ganbench.utils.seeding import Settings, derive, preserved_rng

RNG = np.random.default_rng(0)
# What the discriminator of these tests sees: the first coordinate of a point.
SEEN = {"train": [1.0, 1.0, 3.0, -1.0], "test": [0.0, 1.0, 2.0, -1.0], "fake": [0.0, 1.0, -1.0, -2.0]}
POINTS = {
    side: np.stack([np.resize(seen, 200), RNG.normal(size=200)], 1).astype("float32") for side, seen in SEEN.items()
}


class Identity(Extractor):
    def __init__(self):
        super().__init__("identity", 2, "0" * 64)
        self.precisions = []

    def __call__(self, batch):
        self.precisions.append(torch.get_float32_matmul_precision())
        return batch, None


class Asked(Metric):
    """Keeps the evidence, and the precision under which it was asked."""

    def __init__(self, name: str, cost: str):
        super().__init__(name, name, "min", cost)
        self.asked = []

    def __call__(self, evidence):
        self.asked.append((evidence, torch.get_float32_matmul_precision()))
        return 1.0


class Fixed(Variant):
    """Samples that do not depend on chance, and a decision by the first coordinate."""

    name = "fixed"
    decision_threshold = 0.0

    def __init__(self):
        super().__init__(torch.Size([2]))
        self.seeds, self.batches, self.precisions = [], [], []
        self.fakes = POINTS["fake"]

    def sample(self, n, rng=None):
        self.seeds.append(rng.initial_seed())
        self.precisions.append(torch.get_float32_matmul_precision())
        return torch.from_numpy(self.fakes[:n])

    def score_real(self, x):
        self.batches.append(x[:, 0])
        return x[:, 0]


def evaluator(batch_size: int = 40, points: dict[str, np.ndarray] = POINTS, **options: Any) -> Evaluator:
    dataset = Dataset("cloud", (2,), None, "fid", 960, lambda split: (points[split], None))
    metrics = [Asked("cheap", "each"), Asked("dear", "end")]
    return Evaluator(RealData(dataset, Identity(), samples=200), metrics, 7, batch_size, **options)


def evaluate(one: Evaluator, variant: Variant, last: bool = False) -> dict[str, Any]:
    return one(variant, Telemetry(variant), 0, [], last)[0]


def test_what_a_discriminator_says_by_hand() -> None:
    watch = evaluate(evaluator(), Fixed())["watch"]
    # Pairs of four: a real one above a fake counts, a tie counts half.
    assert (watch["d_auc"], watch["d_auc_train"]) == (11.5 / 16, 12.5 / 16)
    assert (watch["d_accuracy_real"], watch["d_accuracy_train"], watch["d_accuracy_fake"]) == (0.5, 0.75, 0.75)
    for side, seen in SEEN.items():
        expected = {"mean": np.mean(seen), "std": np.std(seen), "median": np.median(seen)}
        assert watch["d_scores"][side] == pytest.approx(expected)
    critic = Fixed()
    critic.decision_threshold = None
    watch = evaluate(evaluator(), critic)["watch"]
    assert watch["d_auc"] == 11.5 / 16 and watch["d_accuracy_real"] is watch["d_accuracy_fake"] is None


def test_distances_are_to_the_held_out_split_and_at_the_end_to_the_training_split_too() -> None:
    one = evaluator()
    entry = evaluate(one, Fixed())
    assert entry["watch"]["trace"] == pytest.approx(np.cov(POINTS["test"], rowvar=False).trace(), rel=0.01)
    assert entry["watch"]["fid"] == pytest.approx(frechet_distance(POINTS["test"], POINTS["fake"]))
    assert list(entry["values"]) == ["cheap"] and "fid_train" not in entry
    entry = evaluate(one, Fixed(), last=True)
    assert list(entry["values"]) == ["cheap", "dear"]
    assert entry["fid_train"] == pytest.approx(frechet_distance(POINTS["train"], POINTS["fake"]))


def test_samples_and_metrics_have_streams_of_their_own_the_same_at_every_evaluation() -> None:
    one, variant = evaluator(), Fixed()
    for last in (False, True):
        evaluate(one, variant, last)
    one.samples(variant)
    assert variant.seeds == [derive(7, "evaluation")] * 3
    assert {evidence.seed for evidence, _ in one.metrics[0].asked} == {derive(7, "metrics")}


def test_as_many_samples_are_drawn_as_were_asked_for_a_part_at_a_time() -> None:
    class Counting(Fixed):
        def sample(self, n, rng=None):
            return torch.randn(n, 2, generator=rng)

    drawn = draw_samples(Counting(), 1234, 5, torch.device("cpu"))
    expected = torch.Generator().manual_seed(5)
    assert torch.equal(drawn, torch.cat([torch.randn(n, 2, generator=expected) for n in (500, 500, 234)]))


def test_a_discriminator_is_asked_about_whole_batches_in_an_order_of_each_sides_own() -> None:
    rows = np.stack([np.arange(2500), np.arange(2500)], 1).astype("float32")
    variant = Fixed()
    evaluate(evaluator(60, {"train": rows, "test": rows}), variant)
    assert [len(batch) for batch in variant.batches] == [60] * (3 + 34 + 34)  # of 200 fakes, of 2,048 of each split
    train, test = (torch.cat(variant.batches[start : start + 34]).tolist() for start in (3, 37))
    for order in (train, test):
        assert len(set(order)) == 2040 and order != sorted(order)
    assert train != test


def test_a_discriminator_is_not_asked_about_less_than_a_batch() -> None:
    variant = Fixed()
    watch = evaluate(evaluator(201), variant)["watch"]
    assert watch["d_auc"] is None and watch["d_scores"] is None and variant.batches == []


@pytest.mark.parametrize(
    ("score", "error"),
    [
        (lambda x: x[:, 0] / 0, Diverged),
        (lambda x: x[:, :1], InvalidOutput),
        (lambda x: x[:-1, 0], InvalidOutput),
        (lambda x: x[:, 0].tolist(), InvalidOutput),
    ],
)
def test_scores_that_are_none_are_refused(score, error) -> None:
    variant = Fixed()
    variant.score_real = score
    with pytest.raises(error, match="score"):
        evaluate(evaluator(), variant)


@pytest.fixture
def other_settings() -> Iterator[Settings]:
    """The settings of the process as they were before a variant changed them."""
    before = Settings.now()
    torch.set_float32_matmul_precision("medium")
    yield before
    torch.set_float32_matmul_precision(before.precision["matmul"])


def test_features_and_metrics_are_computed_under_the_settings_of_the_trial(other_settings: Settings) -> None:
    one, variant = evaluator(settings=other_settings), Fixed()
    evaluate(one, variant, last=True)
    one.rescore(variant, 10, [])
    one.samples(variant)
    found = {precision for metric in one.metrics for _, precision in metric.asked}
    assert found | set(one.real.extractor.precisions) == {other_settings.precision["matmul"]} != {"medium"}
    assert set(variant.precisions) == {"medium"} == {torch.get_float32_matmul_precision()}  # its own
    assert [len(metric.asked) for metric in one.metrics] == [2, 2]


def test_pictures_are_shown_as_they_are_scored() -> None:
    class Grey(Fixed):
        def sample(self, n, rng=None):
            return torch.full((n, 1, 2, 2), 0.5)

    pixels = np.zeros((20, 1, 2, 2), "uint8")
    dataset = Dataset("grey", (1, 2, 2), None, "fid", 960, lambda split: (pixels, None))
    variant = Grey()
    variant.shape = torch.Size([1, 2, 2])
    pictures = Evaluator(RealData(dataset, Identity(), samples=3), [], 7, 4).samples(variant)
    assert pictures.dtype == torch.uint8 and pictures.unique().tolist() == [191]
    points = evaluator().samples(Fixed())
    assert points.dtype == torch.float32 and points[:4, 0].tolist() == SEEN["fake"]


def test_a_shielded_block_has_its_own_chance_no_gradients_and_no_autocast() -> None:
    def drawn() -> list[float]:
        return [torch.rand(1).item(), np.random.rand(), random.random()]

    with preserved_rng(3):
        expected = drawn()
    with preserved_rng(9):
        after = drawn()
    variant = Fixed()
    with preserved_rng(9), torch.autocast("cpu", dtype=torch.bfloat16):
        with eval_mode(variant, 3):
            assert not torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")
            assert drawn() == expected
        assert torch.is_grad_enabled() and torch.is_autocast_enabled("cpu")
        assert drawn() == after


def test_realness_is_the_probability_in_whole_batches_and_a_critic_by_its_range() -> None:
    variant, one = Fixed(), evaluator(batch_size=4)
    places = np.stack([np.linspace(-2, 2, 9), np.zeros(9)], axis=1)
    realness = one.realness(variant, places)
    assert np.allclose(realness, 1 / (1 + np.exp(-places[:, 0])))
    assert {len(batch) for batch in variant.batches} == {4}
    variant.decision_threshold = 1.0
    assert np.allclose(one.realness(variant, places), 1 / (1 + np.exp(1 - places[:, 0])))
    variant.decision_threshold = None
    assert np.allclose(one.realness(variant, places), (places[:, 0] + 2) / 4)
    assert (one.realness(variant, places[:1]) == 0).all()  # all scores the same
    variant.score_real = lambda x: x[:, 0] * float("inf")
    assert one.realness(variant, places) is None
    variant.score_real = None
    assert one.realness(variant, places) is None


class Drawn(Fixed):
    """Points that the stream decides, as a generator's latents do."""

    def sample(self, n, rng=None):
        return torch.randn(n, 2, generator=rng)


@pytest.mark.parametrize("few", [500, 700, 1200])
def test_fewer_samples_before_the_end_change_no_score_of_the_end(few: int) -> None:
    """They are the first of those of the end, and stability is judged by so many at every point."""
    points = {side: RNG.normal(size=(1500, 2)).astype("float32") for side in POINTS}
    dataset = Dataset("cloud", (2,), None, "fid", 960, lambda split: (points[split], None))
    metrics = [FrechetInceptionDistance()]

    def made(curve: int | None) -> Evaluator:
        return Evaluator(RealData(dataset, Identity(), samples=1200), metrics, 7, 40, curve_samples=curve)

    whole, fewer = made(None), made(few)
    every, end = evaluate(whole, Drawn()), evaluate(whole, Drawn(), last=True)
    point, last = evaluate(fewer, Drawn()), evaluate(fewer, Drawn(), last=True)
    for name in ("values", "fid_train", "sampling_sd"):
        assert last[name] == end[name]
    assert every["values"]["fid"] == end["values"]["fid"] and every["watch"] == end["watch"]
    assert point["watch"] == last["watch"] and point["watch"]["fid"] == point["values"]["fid"]
    first, reference = fewer._draw(Drawn(), few), fewer.real.reference(few)
    assert torch.equal(first, whole._draw(Drawn(), 1200)[:few]) and len(reference.features) == few
    assert point["values"]["fid"] == frechet_distance(reference.features, first.numpy())
    assert (point["values"] == every["values"]) == (few == 1200)


def test_the_spread_over_samples_is_of_the_primary_metric_at_the_end() -> None:
    points = {side: RNG.normal(size=(400, 2)).astype("float32") for side in POINTS}
    dataset = Dataset("cloud", (2,), None, "fid", 960, lambda split: (points[split], None))
    one = Evaluator(RealData(dataset, Identity(), samples=400), [FrechetInceptionDistance()], 7, 40)
    assert "sampling_sd" not in evaluate(one, Drawn())
    entry = evaluate(one, Drawn(), last=True)
    fake = one.samples(Drawn()).numpy()
    parts = [frechet_distance(points["test"], fake[np.arange(400) % 10 != g]) for g in range(10)]
    assert entry["sampling_sd"] == {"fid": pytest.approx(np.sqrt(9 * np.var(parts)), rel=1e-8)}
    assert "sampling_sd" not in evaluate(evaluator(), Fixed(), last=True), "the primary metric was not asked for"
