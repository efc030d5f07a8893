"""The distributions that are installed, each once: as pip sees them, with the folder of their metadata."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path

from ganbench.utils.errors import in_words


@dataclass(frozen=True, eq=False)
class Found:
    """A distribution: its name and version, and the folder of its metadata (``my_gan-0.1.0.dist-info``)."""

    name: str
    version: str
    folder: Path
    dist: Distribution

    @property
    def key(self) -> str:
        """Its name as pip compares it."""
        return re.sub(r"[-_.]+", "-", self.name).lower()

    def entries(self, group: str) -> list[EntryPoint]:
        """Its entry points of a group; raises ValueError, naming the file, where they cannot be read."""
        try:
            # Most distributions have none of the group: parsing what they have takes longer than looking.
            if group not in (self.dist.read_text("entry_points.txt") or ""):
                return []
            chosen = list(self.dist.entry_points.select(group=group))
            for entry in chosen:
                _ = entry.module  # raises for what names no module
        except Exception as reason:  # not UTF-8, not that format, a disk that fails
            file = self.folder / "entry_points.txt"
            raise ValueError(f"{file} cannot be read ({in_words(reason)}): install {self.name} again") from None
        return chosen

    def soundness(self) -> tuple[bool, bool, bool, list[int], str]:
        """What tells the distribution that is installed from one that was left over: the greater is installed."""
        return (
            (self.folder / "METADATA").is_file(),
            self._records_what_is_there(),
            self.folder.stem.lower() == f"{self.key.replace('-', '_')}-{self.version}".lower(),
            [int(part) for part in re.findall(r"\d+", self.version)],
            self.folder.name,
        )

    def _records_what_is_there(self) -> bool:
        """Whether the modules are those that it lists: an installation of another version has replaced them."""
        with contextlib.suppress(OSError, ValueError):
            modules = [file for file in self.dist.files or () if file.suffix == ".py" and file.hash is not None]
            for file in modules:
                digest = hashlib.new(file.hash.mode, Path(str(file.locate())).read_bytes()).digest()  # type: ignore[union-attr]
                if base64.urlsafe_b64encode(digest).decode().rstrip("=") != file.hash.value:  # type: ignore[union-attr]
                    return False
            return (self.folder / "RECORD").is_file()
        return False


def find_distributions() -> tuple[list[Found], list[str]]:
    """Everything that is installed, each name once, in the order of ``sys.path``; and what should be deleted.

    pip ignores folders that begin with ``~``, which it leaves behind when it is interrupted; so does this. A folder
    that is reached in two ways is one. Of one name in two folders of ``sys.path`` the first counts, as for Python; of
    one name twice in the same folder, the one whose files are there, and a message says which to delete. Metadata that
    cannot be read costs its own distribution its name or version, and no other anything.
    """
    by_name: dict[str, list[Found]] = defaultdict(list)
    seen: set[Path] = set()
    for dist in distributions():
        folder = Path(getattr(dist, "_path", "."))
        if folder.name.startswith("~") or (same := folder.resolve()) in seen:
            continue
        seen.add(same)
        name, _, version = folder.stem.partition("-")
        with contextlib.suppress(Exception):  # no METADATA, or one that is not UTF-8
            metadata = dist.metadata  # parsed at each call
            name, version = metadata["Name"] or name, metadata["Version"] or version
        one = Found(name, version, folder, dist)
        by_name[one.key].append(one)
    found, left_over = [], []
    for named in by_name.values():
        beside = [one for one in named if one.folder.parent.resolve() == named[0].folder.parent.resolve()]
        if len(beside) > 1:
            beside.sort(key=Found.soundness, reverse=True)
            left_over.append(_what_to_delete(*beside))
        found.append(beside[0])
    return found, left_over


def _what_to_delete(used: Found, *others: Found) -> str:
    folders = " and ".join(str(one.folder) for one in others)
    versions = " and ".join(one.version or "no version" for one in others)
    return (
        f"{used.name} is installed more than once: {used.folder} ({used.version}) is used. Delete {folders} "
        f"({versions}), left over from an installation that was interrupted"
    )
