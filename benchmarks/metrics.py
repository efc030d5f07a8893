"""Ratios of speed and memory: scoring one set of fakes with ganbench, and with torch-fidelity and prdc.

    python benchmarks/metrics.py                 # the table of docs/performance.md, on one core
    python benchmarks/metrics.py --threads 2     # on two
    python benchmarks/metrics.py --quick         # small sizes, a minute
    python benchmarks/metrics.py --only all-2048 --repeats 5
    python benchmarks/metrics.py --scaling       # ours on one thread and on two, by the clock

Every row compares calls on the same float32 features in one process, in turn, ours and theirs, after
one call of ours that is not timed; the ratio is the median of the turns' ratios. CPU seconds are the
process's, all threads together; wall seconds depend on what else the machine does. The network that makes
features is in neither.
Values must agree, or the script ends with an error. Needs ``pip install torch-fidelity prdc``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Scores = dict[str, float]


@dataclass
class Row:
    """One comparison: what ours and theirs compute, and the ratio that is promised."""

    title: str
    promised: float
    ours: Callable[[], Scores]
    theirs: Callable[[], Scores]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a fifth of the rows, a quarter of the features")
    parser.add_argument("--only", help="one row's name, or 'memory'")
    parser.add_argument("--scaling", action="store_true", help="ours alone, on one thread and on two in turn")
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "2" if options.scaling else str(options.threads)

    import torch

    torch.set_num_threads(options.threads)
    rows = comparisons(options.quick)
    if options.only not in (None, "memory", *rows):
        parser.error(f"--only knows {', '.join(rows)}, memory")
    if options.scaling:
        scaling({name: make for name, make in rows.items() if options.only in (None, name)}, options.repeats)
        return
    if options.quick:
        print("quick: a fifth of the rows and a quarter of the features that the titles name, and no ratio is promised")
    print(f"{'':12} {'CPU: theirs':>12} {'ours':>8} {'ratio':>7} {'wall ratio':>11} {'promised':>9}")
    for name, make in rows.items():
        if options.only in (None, name):
            compare(name, make(), options.repeats)
    if options.only in (None, "memory"):
        memory(options.quick)
    if options.only is None:
        rates()


def compare(name: str, row: Row, repeats: int) -> None:
    row.ours()
    ratios, walls, cpu = [], [], []
    for _ in range(repeats):
        ours, theirs = timed(row.ours), timed(row.theirs)
        agree(ours[0], theirs[0])
        cpu.append((theirs[1], ours[1]))
        ratios.append(theirs[1] / ours[1])
        walls.append(theirs[2] / ours[2])
    peer, own = (statistics.median(seconds) for seconds in zip(*cpu, strict=True))
    print(
        f"{name:12} {peer:12.3f} {own:8.3f} {statistics.median(ratios):7.1f} {statistics.median(walls):11.1f} "
        f"{row.promised:9.1f}   {row.title}",
        flush=True,
    )


def scaling(rows: dict[str, Callable[[], Row]], repeats: int) -> None:
    """Seconds by the clock of ours on one thread and on two, in turn; what both return must be the same to the bit."""
    import torch
    from threadpoolctl import threadpool_limits

    print(f"{'':12} {'one thread, s':>14} {'two, s':>8} {'ratio':>7} {'CPU s, one':>11} {'two':>7}")
    for name, make in rows.items():
        row, seen = make(), []
        for _ in range(repeats + 1):  # the first turn is not counted
            turn = []
            for threads in (1, 2):
                torch.set_num_threads(threads)
                with threadpool_limits(threads):
                    turn.append(timed(row.ours))
            if turn[0][0] != turn[1][0]:
                sys.exit(f"{name}: {turn[0][0]} on one thread, {turn[1][0]} on two")
            seen.append([*(wall for _, _, wall in turn), turn[0][2] / turn[1][2], *(cpu for _, cpu, _ in turn)])
        one, two, ratio, *cpu = (statistics.median(values) for values in zip(*seen[1:], strict=True))
        print(f"{name:12} {one:14.3f} {two:8.3f} {ratio:7.2f} {cpu[0]:11.3f} {cpu[1]:7.3f}", flush=True)


def timed(work: Callable[[], Scores]) -> tuple[Scores, float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    scores = work()
    return scores, time.process_time() - cpu, time.perf_counter() - wall


def agree(ours: Scores, theirs: Scores) -> None:
    """Counts as peers have them to the last one; FID and KID to a few of what their own float32 sums are off by."""
    near = {"fid": 1e-5, "kid": 5e-5, "kid_std": 5e-4, "is": 1e-6, "is_std": 1e-4}
    for key in theirs.keys() & ours.keys():
        if abs(ours[key] - theirs[key]) > near.get(key, 1e-6) * abs(theirs[key]):
            sys.exit(f"{key}: ours {ours[key]!r}, theirs {theirs[key]!r}")


def features(n: int, d: int, seed: int) -> Any:
    """Like a network's pooled features: rectified, correlated (rank 256 and noise), falling spectrum, 40 % zeros."""
    import numpy as np

    rng = np.random.default_rng(seed)
    rank = min(256, d)
    mixing = np.random.default_rng(0).normal(size=(rank, d)) * (1.0 + np.arange(rank))[:, None] ** -0.5
    values = rng.normal(size=(n, rank)) @ mixing / mixing.std() / rank**0.5 * 0.6
    return np.float32(np.maximum(values + 0.2 * rng.normal(size=(n, d)) + 0.12 + 0.06 * seed, 0.0))


def comparisons(quick: bool) -> dict[str, Callable[[], Row]]:
    import numpy as np
    import torch
    from prdc import compute_prdc
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    from ganbench.metrics import FeatureSet, frechet_distance, manifold_scores, score_all

    def size(n: int, d: int) -> tuple[int, int]:
        return (max(n // 5, 1200), max(d // 4, 64)) if quick else (n, d)

    def peer_fid(real: dict[str, Any], fake: Any) -> Scores:
        found = fid_statistics_to_metric(real, fid_features_to_statistics(fake), verbose=False)
        return {"fid": found["frechet_inception_distance"]}

    def peer_balls(real: Any, fake: Any, k: int = 3, prdc_k: int = 5) -> Scores:
        theirs = prc_features_to_metric(fake, real, prc_neighborhood=k, verbose=False)
        with contextlib.redirect_stdout(io.StringIO()):
            more = compute_prdc(real.numpy(), fake.numpy(), prdc_k)
        return {key: theirs[key] for key in ("precision", "recall")} | {k: more[k] for k in ("density", "coverage")}

    def peer_all(statistics: dict[str, Any], real: Any, fake: Any, logits: Any) -> Scores:
        isc = isc_features_to_metric(logits)
        kid = kid_features_to_metric(real, fake, verbose=False)
        return (
            {"is": isc["inception_score_mean"], "is_std": isc["inception_score_std"]}
            | peer_fid(statistics, fake)
            | {"kid": kid["kernel_inception_distance_mean"], "kid_std": kid["kernel_inception_distance_std"]}
            | peer_balls(real, fake)
        )

    def together(title: str, promised: float, n: int, d: int, classes: int, cached: bool) -> Row:
        n, d = size(n, d)
        real, fake = features(n, d, 0), features(n, d, 1)
        logits = torch.from_numpy(np.float32(3.0 * np.random.default_rng(2).normal(size=(n, classes))))
        probabilities = logits.softmax(dim=1).numpy()
        known, statistics = FeatureSet(real), fid_features_to_statistics(torch.from_numpy(real))
        return Row(
            title,
            promised,
            lambda: score_all(known if cached else real, fake, probabilities, splits=10),
            lambda: peer_all(statistics, torch.from_numpy(real), torch.from_numpy(fake), logits),
        )

    def fid(title: str, promised: float, n: int, d: int) -> Row:
        n, d = size(n, d) if n > d else ((n // 4, d // 4) if quick else (n, d))
        real, fake = features(n, d, 0), features(n, d, 1)
        known = FeatureSet(real)
        statistics = fid_features_to_statistics(torch.from_numpy(real))
        # Where the real side is cached for us it is for them.
        return Row(
            title,
            promised,
            lambda: {"fid": frechet_distance(known, fake)},
            lambda: peer_fid(statistics, torch.from_numpy(fake)),
        )

    def balls(title: str, promised: float, n: int, d: int) -> Row:
        n, d = size(n, d)
        real, fake = features(n, d, 0), features(n, d, 1)
        known = FeatureSet(real)
        return Row(
            title,
            promised,
            lambda: manifold_scores(known, fake, 5, 5),
            lambda: peer_balls(torch.from_numpy(real), torch.from_numpy(fake), 5, 5),
        )

    return {
        "all-2048": lambda: together("is fid kid P R D C, 5,000 + 5,000, d = 2,048", 9, 5000, 2048, 1008, True),
        "all-2048-new": lambda: together("the same, our real side not cached", 6, 5000, 2048, 1008, False),
        "all-64": lambda: together("is fid kid P R D C, 10,000 + 10,000, d = 64", 20, 10_000, 64, 10, True),
        "fid-10000": lambda: fid("fid, 10,000, d = 2,048", 2.5, 10_000, 2048),
        "fid-1500": lambda: fid("fid, 1,500 < d = 2,048", 10, 1500, 2048),
        "balls-64": lambda: balls("P R D C, 10,000 + 10,000, d = 64, k = 5", 15, 10_000, 64),
    }


def peak_of(code: str, threads: str) -> float:
    """MB that the last line of ``code`` takes at most, above what stood before it; in a process of its own (Linux)."""
    lines = code.strip().splitlines()
    program = "\n".join(
        [
            "import sys, threading, pathlib",
            f"sys.path.insert(0, {str(Path(__file__).parent)!r})",
            *lines[:-1],
            "status = lambda key: next(",
            "    int(l.split()[1]) for l in open('/proc/self/status') if l.startswith(key)) / 1024",
            "pathlib.Path('/proc/self/clear_refs').write_text('5')",
            "before = status('VmRSS')",
            lines[-1],
            "print(status('VmHWM') - before)",
        ]
    )
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    return float(done.stdout.splitlines()[-1])


def memory(quick: bool) -> None:
    """Peaks above what features and imports take, our real side's included."""
    threads = os.environ["OMP_NUM_THREADS"]
    n = 2000 if quick else 10_000
    ours = f"""
import metrics, ganbench.metrics as m
real, fake = metrics.features({n}, 64, 0), metrics.features({n}, 64, 1)
m.manifold_scores(real[:100], fake[:100])
m.manifold_scores(real, fake, 5, 5)
"""
    theirs = f"""
import metrics, torch, prdc
from torch_fidelity.metric_prc import prc_features_to_metric
real, fake = (torch.from_numpy(metrics.features({n}, 64, seed)) for seed in (0, 1))
prc_features_to_metric(real[:100], fake[:100], verbose=False)
prdc.compute_prdc(real[:100].numpy(), fake[:100].numpy(), 5)
prc_features_to_metric(fake, real, prc_neighborhood=5, verbose=False); prdc.compute_prdc(real.numpy(), fake.numpy(), 5)
"""
    own, peer = peak_of(ours, threads), peak_of(theirs, threads)
    print(f"{'balls-64':12} peak memory: theirs {peer:.0f} MB, ours {own:.0f} MB, ratio {peer / own:.1f} (promised 10)")
    n = 5000 if quick else 50_000
    whole = f"""
import metrics, numpy as np, ganbench.metrics as m
real, fake = metrics.features({n}, 64, 0), metrics.features({n}, 64, 1)
p = np.random.default_rng(0).dirichlet(np.ones(10), {n})
m.score_all(real[:1200], fake[:1100], p[:1100])
m.score_all(real, fake, p)
"""
    print(f"{'all-50000':12} peak memory of all together, {n:,} + {n:,}, d = 64: {peak_of(whole, threads):.0f} MB")
    pictures(quick)


WIDE = """
import torch
from ganbench.plugin import Extractor, hookimpl

class Wide(Extractor):
    "As many features as Inception's, what they cost to keep and not to compute: mean colours of a grid, and noise."
    name, size, weights_hash = "wide", 2048, "0" * 64

    def __init__(self):
        self.rng = torch.Generator().manual_seed(0)
        self.mixture = torch.randn(192, 2048, generator=self.rng)

    def __call__(self, batch):
        cells = torch.nn.functional.adaptive_avg_pool2d(batch.float(), 8).flatten(1)
        # Four hundred different pictures would give a covariance of rank 399, which no real set has.
        noise = torch.randn(len(batch), 2048, generator=self.rng)
        return torch.tanh(cells / 64 - 2).matmul(self.mixture) / 14 + noise, None

@hookimpl
def ganbench_extractors():
    return [Wide()]
"""
FIDELITY = """
import sys, warnings
import torch, torch_fidelity
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
warnings.filterwarnings("ignore")

class Cells(FeatureExtractorBase):
    def __init__(self, name, features_list, **rest):
        super().__init__(name, features_list)
    get_provided_features_list = staticmethod(lambda: ("192",))
    get_default_feature_layer_for_metric = staticmethod(lambda metric: "192")
    can_be_compiled = staticmethod(lambda: False)
    get_dummy_input_for_compile = staticmethod(lambda: None)
    def forward(self, x):
        return (torch.nn.functional.adaptive_avg_pool2d(x.float(), 8).flatten(1),)

torch_fidelity.register_feature_extractor("cells", Cells)
torch_fidelity.calculate_metrics(
    input1=sys.argv[1], input2=sys.argv[2], cuda=False, fid=True, feature_extractor="cells", cache=False,
    verbose=False, save_cpu_ram=True, batch_size=32, samples_shuffle=False)
"""


def pictures(quick: bool) -> None:
    """Peak memory, imports included, and CPU seconds of processes that score two folders of 256x256 pictures (Linux).

    The folders hold 400 pictures and links to them: what is decoded is the same, and a disk need not hold gigabytes.
    """
    import tempfile

    import numpy as np
    from PIL import Image

    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        (root / "wide.py").write_text(WIDE)
        (root / "fidelity.py").write_text(FIDELITY)
        rng = np.random.default_rng(0)
        for side in ("real", "fake"):
            (root / f"{side}-originals").mkdir()
            for i in range(400):
                colours = rng.integers(0, 255, (4, 4, 3)).astype(np.uint8).repeat(64, 0).repeat(64, 1)
                Image.fromarray(colours).save(root / f"{side}-originals" / f"{i:03}.png", compress_level=1)
        sizes = (500, 1000, 2000) if quick else (1000, 5000, 50_000)
        for n in sizes:
            folders = []
            for side in ("real", "fake"):
                folder = root / f"{side}-{n}"
                folder.mkdir()
                for i in range(n):
                    os.link(root / f"{side}-originals" / f"{i % 400:03}.png", folder / f"{i:05}.png")
                folders.append(str(folder))
            score = [sys.executable, "-m", "ganbench", "score", "--real", folders[0], "--fake", folders[1]]
            for title, command in (
                ("ganbench, pixels, fid", [*score, "--extractor", "pixels", "--metrics", "fid"]),
                (
                    "ganbench, d = 2,048, fid",
                    [*score, "--extractor", "wide", "--plugin-path", str(root / "wide.py"), "--metrics", "fid"],
                ),
                ("torch-fidelity, d = 192, fid", [sys.executable, str(root / "fidelity.py"), *folders]),
            ):
                if n > 5000 and title.startswith("torch-fidelity"):
                    continue  # its memory is flat, and it decodes as fast as we do
                peak, seconds = peak_and_seconds(command)
                print(
                    f"{n:6,} + {n:6,} pictures of 256x256, {title:30} {peak:6.0f} MB, {seconds:6.0f} CPU s", flush=True
                )


def peak_and_seconds(command: list[str]) -> tuple[float, float]:
    """Peak resident MB and CPU seconds of a process."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} ended with status {status}")
    return usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def rates() -> None:
    """This machine's matrix rates, which floors are computed from."""
    import torch

    for dtype in (torch.float32, torch.float64):
        a = torch.randn(2048, 2048, dtype=dtype)
        seconds = min(timed(lambda a=a: {"": float((a @ a)[0, 0])})[1] for _ in range(7))
        print(f"{dtype}: {2 * 2048**3 / seconds / 1e9:.0f} GFLOP a CPU second")


if __name__ == "__main__":
    main()
