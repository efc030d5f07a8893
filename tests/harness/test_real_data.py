"""Real data: the splits that trials train on and are compared with, and the real samples behind floors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganbench.harness.floors import FLOOR_DRAWS, floors, stand_ins
from ganbench.harness.real_data import RealData, validation_split
from ganbench.metrics.frechet import FrechetInceptionDistance
from ganbench.metrics.manifold import Coverage
from ganbench.plugin.interfaces import Dataset, Extractor, Metric
from ganbench.utils.errors import UsageError

TRAIN = torch.arange(100.0)[:, None] * torch.ones(1, 2)
TEST = 1000 + TRAIN[:60]


class Identity(Extractor):
    def __call__(self, batch):
        return batch, None


def real(split="test", samples=100) -> RealData:
    held = {"train": (TRAIN.numpy(), np.arange(100) % 5), "test": (TEST.numpy(), np.arange(60) % 5)}
    dataset = Dataset("line", (2,), 5, "fid", 100, held.get)
    return RealData(dataset, Identity("same", 2, "0" * 64), samples, split=split)


def test_the_validation_split_is_a_fifth_of_the_training_split_and_never_held_out_data():
    whole, cut = real(), real("validation")
    assert len(cut.images["train"]) == 80 and len(cut.images["test"]) == 20
    both = torch.cat([cut.images["train"], cut.images["test"]])[:, 0]
    assert torch.equal(both.sort().values, TRAIN[:, 0]) and both.max() < 1000
    assert cut.hash != whole.hash and cut.hash == real("validation").hash
    assert cut.held_out.samples[:, 0].tolist() == cut.images["test"][:, 0].tolist()
    assert torch.equal(cut.labels, cut.images["train"][:, 0].long() % 5), "labels stay with their rows"


def test_too_few_rows_have_no_validation_split():
    with pytest.raises(UsageError, match="tiny has 9 training samples"):
        validation_split({"train": (TRAIN[:9], None), "test": (TEST, None)}, "tiny")


def test_an_ideal_sampler_draws_independently_and_copies_are_no_matter_where_they_would_count():
    data = real()
    drawn = [side.samples[:, 0] for side in stand_ins(data, "draws", lambda: data.held_out)]
    assert len(drawn) == FLOOR_DRAWS and all(len(one) == 100 for one in drawn)
    distinct = [len(np.unique(one)) for one in drawn]
    assert 55 < np.mean(distinct) < 72  # 63.4 of 100
    labels = next(iter(stand_ins(data, "draws", lambda: data.held_out)))
    assert (labels.labels == labels.samples[:, 0] % 5).all() and (labels.features == labels.samples).all()
    (different,) = [side.samples[:, 0] for side in stand_ins(data, "train", lambda: data.held_out)]
    assert len(np.unique(different)) == 100


def test_a_floor_is_the_mean_of_its_draws_and_its_spread_their_deviation():
    class Mean(Metric):
        floor = "draws"

        def __call__(self, evidence):
            return float(evidence.fake.samples.mean())

    data = real()
    found = floors(data, [Mean("mean", "Mean", "none"), FrechetInceptionDistance(), Coverage()])
    means = [side.samples.mean() for side in stand_ins(data, "draws", lambda: data.held_out)]
    assert found.values["mean"] == pytest.approx(np.mean(means))
    assert found.spreads["mean"] == pytest.approx(np.std(means, ddof=1))
    assert found.spreads["fid"] > 0 and "coverage" not in found.spreads
