"""Image sets that come as four IDX files, found on this machine or downloaded once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ganbench.datasets import DatasetError
from ganbench.datasets.idx import read_idx
from ganbench.hookspecs import hookimpl
from ganbench.kinds import Dataset

SYSTEM = Path("/usr/share/datasets")
PREFIX = {"train": "train", "test": "t10k"}
DOWNLOAD_TIMEOUT = 30.0


class IdxDataset(Dataset):
    """One row of the table below: where the four files of an image set may lie, and what must be in them.

    Attributes:
        counts: images in each split.
        sha256: of each split's pixels followed by its labels, one byte each.
        torchvision: class of ``torchvision.datasets`` that downloads it; also its folder's name.
        package: Debian package that installs it, or None.
    """

    _fields = (*Dataset._fields, "counts", "sha256", "torchvision", "package")  # type: ignore[assignment]
    counts: Mapping[str, int]
    sha256: Mapping[str, str]
    torchvision: str
    package: str | None = None

    def load(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Images ``(n, 1, height, width)`` uint8 and labels ``(n,)`` int64.

        Raises:
            DatasetError: the files are nowhere, or not those of this dataset.
        """
        files = self.find()
        n = self.counts[split]
        pixels = files[f"{PREFIX[split]}-images-idx3-ubyte"]
        images = read_idx(pixels, (n, *self.shape[1:]))
        labels = read_idx(files[f"{PREFIX[split]}-labels-idx1-ubyte"], (n,))
        digest = hashlib.sha256(images.tobytes())
        digest.update(labels.tobytes())
        if digest.hexdigest() != self.sha256[split]:
            raise DatasetError(
                f"the {split} files in {pixels.parent} are not those of {self.name}: their pixels and labels have "
                f"the SHA-256 {digest.hexdigest()}, expected {self.sha256[split]}. Replace them, and keep each dataset "
                "in a folder of its own name"
            )
        return images[:, None].copy(), labels.astype(np.int64)

    def find(self) -> dict[str, Path]:
        """The four files by their names without ``.gz``, downloaded into the cache folder if there are none."""
        given = os.environ.get("GANBENCH_DATA")
        for folder in self.folders(given):
            if files := self.files_in(folder):
                return files
        try:
            return self.download()
        except Exception as error:  # whatever torchvision, the network or the disk raised
            ways = [f"set GANBENCH_DATA to a folder with its four files ({', '.join(self.file_names())}, plain or .gz)"]
            if self.package:
                ways.append(f"run `apt-get install {self.package}`")
            ways.append("be online once, so that it can be downloaded")
            missing = f" GANBENCH_DATA is {given}, which does not hold them." if given else ""
            raise DatasetError(
                f"dataset {self.name} is not on this machine.{missing} Any of these gives it: {'; '.join(ways)}. "
                f"The download failed: {str(error).strip() or type(error).__name__}"
            ) from error

    def folders(self, given: str | None) -> Iterator[Path]:
        """Folders to look in, in this order; ``given`` is the user's own."""
        if given:
            root = Path(given).expanduser()
            yield from (root / self.name, root / self.torchvision / "raw", root)
        yield SYSTEM / self.name
        yield self.cache()

    def cache(self) -> Path:
        from platformdirs import user_cache_dir

        return Path(user_cache_dir("ganbench")) / self.name

    def file_names(self) -> list[str]:
        return [f"{prefix}-{kind}-ubyte" for prefix in PREFIX.values() for kind in ("images-idx3", "labels-idx1")]

    def files_in(self, folder: Path) -> dict[str, Path] | None:
        """The four files in ``folder``, or None unless all are there."""
        found = {}
        for name in self.file_names():
            for path in (folder / f"{name}.gz", folder / name):
                if path.is_file():
                    found[name] = path
                    break
        return found if len(found) == len(self.file_names()) else None

    def download(self) -> dict[str, Path]:
        """Let torchvision fetch the files, which checks their MD5, and move them into the cache folder as one."""
        import torchvision

        self.cache().parent.mkdir(parents=True, exist_ok=True)
        timeout = socket.getdefaulttimeout()
        with tempfile.TemporaryDirectory(dir=self.cache().parent) as scratch:
            # torchvision sets no time limit, so that without one a silent network would hang for ever.
            socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
            try:
                with contextlib.redirect_stdout(sys.stderr):
                    getattr(torchvision.datasets, self.torchvision)(scratch, download=True)
            finally:
                socket.setdefaulttimeout(timeout)
            raw = Path(scratch) / self.torchvision / "raw"
            for name in self.file_names():
                # It keeps every file twice, packed and unpacked.
                if (raw / f"{name}.gz").is_file():
                    (raw / name).unlink(missing_ok=True)
            # Renaming a folder is atomic: another process sees all of it or nothing, and may well have been first.
            with contextlib.suppress(OSError):
                raw.rename(self.cache())
        files = self.files_in(self.cache())
        if files is None:
            raise DatasetError(f"{self.cache()} lacks some of the files; remove it to download them again")
        return files


IDX = [
    IdxDataset(
        name="fashion-mnist",
        shape=(1, 28, 28),
        classes=10,
        budget_images=76_800,
        counts={"train": 60_000, "test": 10_000},
        sha256={
            "train": "16d82e2b505296aa2b78bd5ea0992634f30419a4c97def7c907d154a35ac6157",
            "test": "9f1ec356a747bfe4ebab3cfb722d3694c9ca737e2570f6f90cf31d7b6fd689d4",
        },
        torchvision="FashionMNIST",
        package="dataset-fashion-mnist",
    ),
]


@hookimpl
def ganbench_datasets() -> list[IdxDataset]:
    return IDX
