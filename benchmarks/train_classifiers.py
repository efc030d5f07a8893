"""Train the classifiers whose features built-in image scores are computed from, and write their weights.

    python benchmarks/train_classifiers.py digits fashion-mnist mnist

Deterministic on one machine: fixed seed, one thread, training split only. Another processor or
version of torch gives other last digits, and with them another ``weights_hash``; the weights in the
package are therefore part of the protocol, and this script says where they come from.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import time
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from ganbench.extractors import classifier
from ganbench.extractors.training import Recipe, accuracy, mirrored, moved, shifted, train

# The module that offers the dataset, and how its classifier is trained.
RECIPES = {
    "digits": ("ganbench.datasets.digits", Recipe(moved, epochs=60, batch_size=64)),
    "fashion-mnist": ("ganbench.datasets.mnist", Recipe(mirrored, epochs=5, batch_size=128, lr=2e-3)),
    "mnist": ("ganbench.datasets.mnist", Recipe(shifted, epochs=5, batch_size=128, lr=2e-3)),
}


def named(kind: list, name: str):
    return next(one for one in kind if one.name == name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", choices=sorted(RECIPES))
    parser.add_argument("--output", type=Path, default=classifier.WEIGHTS, help="folder of the .safetensors files")
    arguments = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    for name in arguments.datasets:
        module, recipe = RECIPES[name]
        dataset = named(importlib.import_module(module).ganbench_datasets(), name)
        extractor = named(classifier.ganbench_extractors(), f"{name}-cnn")
        started = time.process_time()
        images, labels = map(torch.from_numpy, dataset.load("train"))
        weights = train(images, labels, extractor.size, extractor.classes, recipe)
        seconds = time.process_time() - started
        scores = {split: accuracy(weights, *map(torch.from_numpy, dataset.load(split))) for split in ("train", "test")}
        facts = {
            "dataset": name,
            "held_out_accuracy": scores["test"],
            "training_accuracy": scores["train"],
            "recipe": {"module": module, **asdict(recipe), "augment": recipe.augment.__name__},
        }
        path = arguments.output / extractor.path.name
        # One entry: safetensors writes several in an order that changes from run to run.
        save_file(weights, path, metadata={"training": json.dumps(facts, sort_keys=True)})
        path.chmod(0o644)  # safetensors leaves it readable by its owner alone, and a wheel keeps that
        print(f"{path}: SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}, which classifier.SHIPPED must name")
        print(f"{path}: {path.stat().st_size:,} bytes, held-out accuracy {scores['test']:.4f}, {seconds:.0f} s of CPU")


if __name__ == "__main__":
    main()
