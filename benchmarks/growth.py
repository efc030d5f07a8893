"""How time and memory grow: curves of a training step, an evaluation and a sweep, as a picture.

    python benchmarks/growth.py docs/assets/growth.svg      # needs matplotlib; ten minutes

Points are kept beside the picture (growth.json) as they are measured; what stands there is not measured again.

One training step of ``dcgan`` on noise (CPU seconds, the least of six runs of some steps, one thread) against the
side of the image, the batch and the width, with the peak memory of the process; one evaluation of ``vanilla`` on digits
against the samples it scores, and all of a trial's evaluations against their number; a sweep of trials that train
nothing against their number (wall seconds, starting included). Every point has a process of its own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STEP: dict[str, Any] = {"side": 28, "size": 64, "width": 32}
CURVES: dict[str, tuple[str, list[int]]] = {
    "side": ("pixels a side", [8, 16, 28, 32, 64]),
    "size": ("images a batch", [16, 32, 64, 128, 256]),
    "width": ("channels next to the image", [8, 16, 32, 64]),
    "samples": ("samples an evaluation", [100, 300, 900, 3000, 10_000]),
    "evaluations": ("evaluations a trial", [5, 10, 20, 40, 80]),
    "trials": ("trials a sweep", [2, 8, 32, 128]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path, nargs="?", default=Path("growth.svg"), help="SVG or PNG")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(step(**json.loads(options.step))))
        return
    file = options.picture.with_suffix(".json")
    found: dict[str, dict[str, list[float | None]]] = json.loads(file.read_text()) if file.exists() else {}
    for name, (label, values) in CURVES.items():
        for value in values:
            if str(value) not in found.setdefault(name, {}):
                found[name][str(value)] = list(point(name, value))
                file.write_text(json.dumps(found, indent=1) + "\n")
            seconds, memory = found[name][str(value)]
            mib = "" if memory is None else f"{memory / 2**20:10,.0f} MiB"
            print(f"{label:>28} {value:6} {(seconds or 0) * 1e3:12,.1f} ms {mib}", flush=True)
    draw(found, options.picture)


def point(name: str, value: int) -> tuple[float, float | None]:
    """Seconds, and bytes where they grow with it."""
    if name in STEP:
        command = [sys.executable, __file__, "--step", json.dumps(STEP | {name: value})]
        answer = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        return answer["seconds"], answer["bytes"]
    with tempfile.TemporaryDirectory() as folder:
        words = {"samples": 900, "evaluations": 5, "trials": 1} | {name: value}
        plugin, images = ("noise", 64) if name == "trials" else ("vanilla", 6400)
        evaluations = 1 if name == "trials" else words["evaluations"]
        sizes = f"--images {images} --evaluations {evaluations} --samples {words['samples']} --seeds {words['trials']}"
        command = f"-m ganbench run -p {plugin} -d digits {sizes} --jobs 1 --results".split()
        start = time.perf_counter()
        subprocess.run([sys.executable, *command, folder], capture_output=True, check=True)
        wall = time.perf_counter() - start
        if name == "trials":
            return wall, None
        (cost,) = (json.loads(path.read_bytes()) for path in Path(folder).rglob("cost.json"))
    every = 1 if name == "evaluations" else evaluations + 1
    return cost["evaluation_seconds"] / every, cost["peak_memory_bytes"]


def step(side: int, size: int, width: int) -> dict[str, float]:
    """CPU seconds of a step, and the process's most bytes."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    from ganbench.discovery.loader import discover
    from ganbench.plugin.variant import Batch, Clock

    torch.set_num_threads(1)
    torch.manual_seed(0)
    dcgan = discover([("variant", "dcgan")]).get("variant", "dcgan").thing(torch.Size((1, side, side)), width=width)
    batch = Batch(torch.rand(size, 1, side, side) * 2 - 1)
    best, steps = math.inf, 4
    for _ in range(6):
        start = time.process_time()
        for i in range(steps):
            dcgan.train_step(batch, Clock(i, 0, 1, 0.0, False))
        best = min(best, (time.process_time() - start) / steps)
    return {"seconds": best, "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def draw(found: dict[str, dict[str, list[float | None]]], picture: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "ganbench"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(11, 6), layout="constrained")
    for axis, (name, points) in zip(axes.flat, found.items(), strict=True):
        values, rows = [int(value) for value in points], list(points.values())
        line(axis, values, [seconds or 0 for seconds, _ in rows])
        axis.set_xlabel(CURVES[name][0])
        axis.set_title({"samples": "one evaluation", "evaluations": "all evaluations"}.get(name, "a sweep"))
        if name in STEP:
            axis.set_title("one training step")
        if rows[0][1] is not None:
            beside = axis.twinx()
            mib = [(memory or 0) / 2**20 for _, memory in rows]
            beside.plot(values, mib, "s--", color="C1")
            beside.set_ylim(0, 1.2 * max(mib))
            beside.set_ylabel("MiB", color="C1")
    figure.savefig(picture, metadata={"Date": None} if picture.suffix == ".svg" else None)


def line(axis: Any, values: list[int], heights: list[float]) -> None:
    from matplotlib import ticker

    axis.loglog(values, heights, "o-", color="C0")
    axis.set_ylabel("seconds", color="C0")
    axis.set_xticks(values, [f"{value:,}" for value in values], rotation=30, fontsize=8)
    axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axis.minorticks_off()
    axis.grid(axis="y", alpha=0.3)


if __name__ == "__main__":
    main()
