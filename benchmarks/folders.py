"""What it costs to know a folder of pictures by its content: ``python benchmarks/folders.py``.

Makes 50,000 small PNG files in a temporary folder, and times listing them, hashing every byte as ``folder:PATH`` does
each time it is named, and decoding them as it does once. CPU seconds and wall seconds of one process, files in the
system's cache; ``--files`` and ``--side`` make other folders.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ganbench.datasets.folder import Folder
from ganbench.datasets.pictures import list_folder
from ganbench.datasets.user_images import Options


def make(root: Path, files: int, side: int) -> int:
    """Write pictures of noise in 100 sub-folders; return how many bytes they have."""
    rng = np.random.default_rng(0)
    for number in range(files):
        folder = root / f"{number % 100:02}"
        folder.mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:06}.png", compress_level=1)
    return sum(path.stat().st_size for path in files_of(root))


def files_of(root: Path) -> Iterator[Path]:
    return (Path(place, name) for place, _, names in os.walk(root) for name in names)


def timed(what: str, work: Callable[[], object]) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    print(f"{what:10} {time.process_time() - cpu:6.2f} s CPU, {time.perf_counter() - wall:6.2f} s wall")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--side", type=int, default=32)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        size = make(root, chosen.files, chosen.side)
        print(f"{chosen.files:,} PNG files of {chosen.side}x{chosen.side}, {size / 1e6:,.0f} MB")
        timed("stat", lambda: [path.lstat() for path in files_of(root)])
        timed("list", lambda: list_folder(root))
        timed("hash", lambda: Folder().fingerprint(root))
        timed("decode", lambda: Folder().read(root, Options()))


if __name__ == "__main__":
    main()
