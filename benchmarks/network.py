"""Ratio of speed: the Inception network of ``inception-v3`` and ``inception-v3-fast``, and torch-fidelity's own pass.

    python benchmarks/network.py                      # 16 images of 299x299 and of 32x32, one core
    python benchmarks/network.py --threads 2 --images 64 --repeats 5

The network has random weights: speed does not depend on them. All three take the same uint8 images in
one process, in turn, after a call each that is not timed; the ratio is the median of the turns' ratios of
CPU seconds. Features must agree, or the script ends with an error.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)

    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    from ganbench.extractors import networks

    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    state = random_state()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "weights.pth")
        torch.save(state, file)
        theirs = FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], str(file))
    plain, fast = networks.Inception(state).eval(), networks.FastInception(state).eval()
    print(f"{'images':>10} {'theirs':>8} {'plain':>8} {'fast':>8} {'ratio plain':>12} {'fast':>6} {'difference':>11}")
    for side in (299, 32):
        images = torch.randint(0, 256, (options.images, 3, side, side), dtype=torch.uint8)
        turns: list[Callable[[], Any]] = [
            lambda images=images: theirs(images),
            lambda images=images: plain(images.float()),
            lambda images=images: fast(images.float()),
        ]
        features = [turn()[0] for turn in turns]
        assert torch.equal(features[0], features[1])
        difference = float((features[2] - features[0]).norm() / features[0].norm())
        assert difference < 1e-5, difference
        seconds = [[cpu(turn) for turn in turns] for _ in range(options.repeats)]
        medians = [statistics.median(column) for column in zip(*seconds, strict=True)]
        ratios = [statistics.median(row[0] / row[i] for row in seconds) for i in (1, 2)]
        print(
            f"{side:>6}x{side:<3} {medians[0]:8.2f} {medians[1]:8.2f} {medians[2]:8.2f} "
            f"{ratios[0]:12.2f} {ratios[1]:6.2f} {difference:11.1e}"
        )


def cpu(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def random_state() -> dict[str, Any]:
    """Weights of torch-fidelity's network, which has no way to be built without some."""
    import torch
    from torch_fidelity import feature_extractor_inceptionv3 as module

    class Untrained(module.FeatureExtractorInceptionV3):
        def load_state_dict(self, *arguments: Any, **named: Any) -> Any:
            """Keep what the constructor drew."""

    torch.manual_seed(0)
    with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        torch.save({}, file.name)
        network = Untrained("inception-v3-compat", ["2048"], file.name)
    for part in network.modules():
        if isinstance(part, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(part.weight)
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    return network.state_dict()


if __name__ == "__main__":
    main()
