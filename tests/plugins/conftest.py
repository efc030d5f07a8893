"""Real training in seconds, for tests of what a variant has learnt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ganbench.datasets.digits import ganbench_datasets
from ganbench.extractors.classifier import ganbench_extractors
from ganbench.harness.build import build
from ganbench.harness.evaluation import Evaluator
from ganbench.harness.real_data import RealData
from ganbench.harness.training import Training
from ganbench.metrics.frechet import ganbench_metrics
from ganbench.plugin import Variant
from ganbench.utils.seeding import derive, seed_everything


@pytest.fixture(scope="session")
def digits() -> RealData:
    dataset = next(d for d in ganbench_datasets() if d.name == "digits")
    extractor = next(e for e in ganbench_extractors() if e.name == "digits-cnn")
    return RealData(dataset, extractor, samples=900)


@pytest.fixture
def digits_trained(digits: RealData, tmp_path: Path) -> Callable[..., Variant]:
    """Train a variant on so many images of digits with its defaults; ``variant.fid`` is its score after that."""

    def train(cls: type[Variant], images: int, seed: int = 0, **hyperparameters: Any) -> Variant:
        torch.set_num_threads(1)
        variant = build(cls, digits.dataset, hyperparameters, seed)
        seed_everything(derive(seed, "training"))
        fid = next(m for m in ganbench_metrics() if m.name == "fid")
        training = Training(
            variant,
            digits,
            Evaluator(digits, [fid], seed, 64),
            budget_images=images,
            batch_size=64,
            evaluations=1,
            seed=seed,
            environment="here",
        )
        training.run(tmp_path / cls.name, lambda entry, samples: None, lambda images: None, checkpoint_seconds=1e9)
        variant.eval().fid = training.history[-1]["values"]["fid"]
        return variant

    return train


# A fresh interpreter, or twelve steps of DCGAN, for every variant: only some of them by default.
DEAR = {"picklable_across_processes": ("vanilla", "gmm"), "time_per_step": ("vanilla",)}


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        given = getattr(item, "callspec", None)
        check = given.params.get("check") if given else None
        if getattr(check, "name", "") in DEAR and given.params["plugin"].name not in DEAR[check.name]:
            item.add_marker(pytest.mark.slow)  # pytest -m slow tests/plugins/test_first_party.py
