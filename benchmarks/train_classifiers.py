"""Train the classifiers whose features built-in image scores are computed from, and write their weights.

    python benchmarks/train_classifiers.py digits fashion-mnist

Deterministic on one machine: fixed seed, one thread, training split only. Another processor or
version of torch gives other last digits, and with them another ``weights_hash``; the weights in the
package are therefore part of the protocol, and this script says where they come from.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ganbench.extractors import classifier
from ganbench.kinds import Dataset


def moved(images: Tensor, rng: torch.Generator) -> Tensor:
    """Each image turned, scaled, sheared and shifted a little: 897 digits are few."""
    n = len(images)

    def uniform(width: float, *shape: int) -> Tensor:
        return (torch.rand(n, *shape, generator=rng) - 0.5) * width

    angle, scale, shear, shift = uniform(0.5), 1 + uniform(0.3, 2), uniform(0.3), uniform(0.35, 2)
    first = torch.stack([angle.cos() * scale[:, 0], shear - angle.sin(), shift[:, 0]], dim=1)
    second = torch.stack([angle.sin(), angle.cos() * scale[:, 1], shift[:, 1]], dim=1)
    grid = F.affine_grid(torch.stack([first, second], dim=1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def mirrored(images: Tensor, rng: torch.Generator) -> Tensor:
    """Each image as it is or left-right reversed."""
    flip = torch.rand(len(images), 1, 1, 1, generator=rng) < 0.5
    return torch.where(flip, images.flip(-1), images)


@dataclass(frozen=True)
class Recipe:
    module: str
    augment: Callable[[Tensor, torch.Generator], Tensor]
    epochs: int
    batch_size: int
    lr: float = 4e-3
    weight_decay: float = 1e-2
    channels: int = 16
    seed: int = 0


RECIPES = {
    "digits": Recipe("ganbench.datasets.digits", moved, epochs=60, batch_size=64),
    "fashion-mnist": Recipe("ganbench.datasets.vision", mirrored, epochs=5, batch_size=128, lr=2e-3),
}


def named(kind: list, name: str):
    return next(one for one in kind if one.name == name)


def untrained(extractor: classifier.Classifier, channels: int, seed: int) -> dict[str, Tensor]:
    """Weights as torch's layers initialise them."""
    torch.manual_seed(seed)
    conv1 = nn.Conv2d(extractor.shape[0], channels, 3)
    conv2 = nn.Conv2d(channels, 2 * channels, 3)
    side = extractor.shape[1]
    for _ in (conv1, conv2):
        side = side // 2 if side > classifier.SMALLEST else side
    features = nn.Linear(2 * channels * side * side, extractor.size)
    layers = {"conv1": conv1, "conv2": conv2, "features": features}
    layers["classes"] = nn.Linear(extractor.size, extractor.classes)
    return {f"{name}.{key}": value for name, layer in layers.items() for key, value in layer.named_parameters()}


def accuracy(weights: dict[str, Tensor], images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        logits = torch.cat([classifier.network(weights, chunk)[1] for chunk in images.split(classifier.BATCH)])
    return (logits.argmax(dim=1) == labels).double().mean().item()


def train(dataset: Dataset, extractor: classifier.Classifier, recipe: Recipe) -> dict[str, Tensor]:
    images, labels = map(torch.from_numpy, dataset.load("train"))
    rng = torch.Generator().manual_seed(recipe.seed)
    weights = untrained(extractor, recipe.channels, recipe.seed)
    steps = recipe.epochs * (len(images) // recipe.batch_size)
    optimizer = torch.optim.AdamW(weights.values(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=steps)
    for _ in range(recipe.epochs):
        order = torch.randperm(len(images), generator=rng)
        for rows in order[: len(order) // recipe.batch_size * recipe.batch_size].split(recipe.batch_size):
            logits = classifier.network(weights, recipe.augment(images[rows].float(), rng))[1]
            optimizer.zero_grad()
            F.cross_entropy(logits, labels[rows]).backward()
            optimizer.step()
            schedule.step()
    return {name: value.detach() for name, value in weights.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", choices=sorted(RECIPES))
    parser.add_argument("--output", type=Path, default=classifier.WEIGHTS, help="folder of the .safetensors files")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name in arguments.datasets:
        recipe = RECIPES[name]
        dataset = named(importlib.import_module(recipe.module).ganbench_datasets(), name)
        extractor = named(classifier.ganbench_extractors(), f"{name}-cnn")
        started = time.process_time()
        weights = train(dataset, extractor, recipe)
        seconds = time.process_time() - started
        scores = {split: accuracy(weights, *map(torch.from_numpy, dataset.load(split))) for split in ("train", "test")}
        facts = {
            "dataset": name,
            "held_out_accuracy": scores["test"],
            "training_accuracy": scores["train"],
            "recipe": {**asdict(recipe), "augment": recipe.augment.__name__},
        }
        path = arguments.output / extractor.path.name
        # One entry: safetensors writes several in an order that changes from run to run.
        save_file(weights, path, metadata={"training": json.dumps(facts, sort_keys=True)})
        path.chmod(0o644)  # safetensors leaves it readable by its owner alone, and a wheel keeps that
        print(f"{path}: {path.stat().st_size:,} bytes, held-out accuracy {scores['test']:.4f}, {seconds:.0f} s of CPU")


if __name__ == "__main__":
    main()
