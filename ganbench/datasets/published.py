"""The base class of published datasets: it finds, downloads and verifies their files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ganbench.datasets import DatasetError
from ganbench.plugin.interfaces import REQUIRED, Dataset, plugin_dataclass
from ganbench.utils.files import cache_folder
from ganbench.utils.withheld import may_do

SYSTEM = Path("/usr/share/datasets")
TIMEOUT = 30.0  # seconds without a byte, after which a server counts as silent
BLOCK = 2**16


@plugin_dataclass
class Published(Dataset):
    """A dataset in files that can be downloaded, verified by their SHA-256.

    Attributes:
        sums: by file name as published, the hex SHA-256 of that file.
        mirrors: addresses of the folders that it is published in, tried in order.
        aliases: folders below ``GANBENCH_DATA`` where other tools keep it.
        package: Debian package that installs it, or None.
    """

    sums: Mapping[str, str] = REQUIRED
    mirrors: tuple[str, ...] = REQUIRED
    aliases: tuple[str, ...] = ()
    package: str | None = None

    def names(self, file: str) -> tuple[str, ...]:
        """The names under which a published file may lie on this machine."""
        return (file,)

    def find(self) -> dict[str, Path]:
        """The files by their published names, downloaded into the cache folder if they are nowhere.

        Raises:
            DatasetError: there is no way to them. The message names the ways to provide them.
        """
        given = os.environ.get("GANBENCH_DATA")
        passed = ""
        for folder in self.folders(given):
            if files := self.files_in(folder):
                if (other := self.owner(files)) is None:
                    return files
                passed += f" The files of these names in {folder} are those of {other}."
        may_do(f"download its files from {self.mirrors[0]}")
        try:
            return self.download()
        except Exception as error:  # whatever pooch, the network or the disk raised
            ways = [f"set GANBENCH_DATA to a folder with its files ({', '.join(self.sums)})"]
            if self.package:
                ways.append(f"run `apt-get install {self.package}`")
            ways.append(f"be online once, so that they can be downloaded into {self.cache()}")
            missing = f" GANBENCH_DATA is {given}, which does not hold them." if given else ""
            raise DatasetError(
                f"dataset {self.name} is not on this machine.{missing}{passed} "
                f"Any of these gives it: {'; '.join(ways)}. "
                f"The download failed: {str(error).strip() or type(error).__name__}"
            ) from error

    def folders(self, given: str | None) -> Iterator[Path]:
        """Folders to look in, in this order; ``given`` is the user's own."""
        if given:
            root = Path(given).expanduser()
            yield from (root / self.name, *(root / alias for alias in self.aliases), root)
        yield SYSTEM / self.name
        yield self.cache()

    def cache(self) -> Path:
        return cache_folder(self.name)

    def files_in(self, folder: Path) -> dict[str, Path] | None:
        """The files in ``folder`` by their published names, or None unless all are there."""
        found = {}
        for file in self.sums:
            for name in self.names(file):
                if (folder / name).is_file():
                    found[file] = folder / name
                    break
        return found if len(found) == len(self.sums) else None

    def owner(self, files: Mapping[str, Path]) -> str | None:
        """Another dataset that ``files`` are of, which has files of the same names; None if there is none such."""
        return None

    def verify(self, file: str, path: Path, *known: str) -> None:
        """Raise DatasetError unless ``path`` is that published file, or one of the ``known`` SHA-256 is its own."""
        with open(path, "rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found not in (self.sums[file], *known):
            raise DatasetError(
                f"{path} is not a file of {self.name}: its SHA-256 is {found}, that of {file} as published is "
                f"{self.sums[file]}. Replace it, and keep each dataset in a folder of its own name"
            )

    def download(self) -> dict[str, Path]:
        """Fetch the files that the cache folder lacks. A file appears there whole and verified, or not at all.

        What an interrupted download left is continued; files that are complete are not fetched again. A
        second process waits for the first.
        """
        import pooch
        from filelock import FileLock

        folder = self.cache()
        folder.mkdir(parents=True, exist_ok=True)
        pooch.get_logger().setLevel("WARNING")
        with FileLock(folder / ".lock"):
            for file, known in self.sums.items():
                failures = []
                for mirror in self.mirrors:
                    try:
                        pooch.retrieve(f"{mirror}{file}", f"sha256:{known}", file, folder, downloader=resume)
                        break
                    except Exception as error:  # the next mirror may do
                        failures.append(str(error).strip() or type(error).__name__)
                else:
                    raise DatasetError("; ".join(failures))
        return {file: folder / file for file in self.sums}


def resume(url: str, output: str | os.PathLike[str], pooch: object) -> None:
    """Download ``url`` to ``output``, going on where an earlier download stopped: the downloader that pooch calls.

    Bytes that an earlier attempt got are not asked for again where the server can begin in the middle.
    pooch compares the whole with its SHA-256, so a file that changed in between is not accepted.
    """
    import requests

    output = Path(output)
    partial = output.with_name(f".{url.rpartition('/')[2]}.part")
    have = partial.stat().st_size if partial.exists() else 0
    asked = {"Range": f"bytes={have}-"} if have else {}
    with requests.get(url, headers=asked, stream=True, timeout=TIMEOUT) as answer:
        if have and answer.status_code == requests.codes.requested_range_not_satisfiable:
            os.replace(partial, output)  # it was complete
            return
        answer.raise_for_status()
        continues = answer.status_code == requests.codes.partial_content
        with open(partial, "ab" if continues else "wb") as stream:
            for block in answer.iter_content(BLOCK):
                stream.write(block)
    os.replace(partial, output)
