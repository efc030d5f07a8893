"""The source hash of a variant: the code that makes its weights, whatever folder it is installed in."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution
from importlib.resources import files
from pathlib import Path

from ganbench.discovery.entry_points import FILE
from ganbench.discovery.imports import (
    closure,
    find_module,
    imported_names,
    is_pinned,
    owner,
    packages,
    starred_names,
)
from ganbench.utils.errors import UsageError, in_words

# Their versions stand in the environment of a record; their files are no part of the variant.
PINNED = frozenset({"ganbench", "torch", "__main__", *sys.builtin_module_names})


def source_hash(cls: type, distribution: str) -> str:
    """Hex SHA-256 over everything outside ganbench and its dependencies that decides what ``cls`` computes.

    That is: the files of the modules that define ``cls`` and its bases; every module that these import, in turn, of the
    same distribution or of nobody's, such as a helper beside a file; the other distributions that they import, with
    what those require; and the files that ``data_files`` of ``cls`` names. Imports are read in the text, so that one in
    a function counts, and one whose name is computed does not.

    Of a file given with --plugin-path that builds on ganbench alone, it is the file's own SHA-256. Where only words
    changed, it is the hash that records know the variant by: see ``recorded_sources``.

    Raises:
        UsageError: a file that ``data_files`` names is not there.
    """
    found = sources(cls, distribution)
    if distribution.startswith(FILE) and len(found.contents) == 1 and not found.others:
        return hashlib.sha256(*found.contents.values()).hexdigest()
    digest = hashlib.sha256()
    for name, content in sorted(found.contents.items()):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    for one in found.others:
        digest.update(f"{one.name}\0{one.version}\0{_content(one)}\0".encode())
    return recorded_sources(distribution).get(digest.hexdigest(), digest.hexdigest())


@dataclass(frozen=True)
class Sources:
    """What a source hash covers.

    Attributes:
        contents: bytes by the name of a module, or ``module:file`` of a data file.
        paths: where those lie.
        others: distributions that count as a whole, in the order of their names.
    """

    contents: dict[str, bytes]
    paths: list[Path]
    others: list[Distribution]


def sources(cls: type, distribution: str) -> Sources:
    """Find what the source hash of a class covers; raises UsageError for a data file that is not there."""
    modules = [owner.__module__ for owner in cls.__mro__ if _top(owner.__module__) not in PINNED]
    modules = [name for name in modules if (found := find_module(name)) is None or not _is_standard(name, found.path)]
    own = {_top(module) for module in modules} | packages(distribution)
    beside = Path(inspect.getfile(cls)).parent if distribution.startswith(FILE) else None
    contents: dict[str, bytes] = {}
    paths: list[Path] = []
    others: dict[str, Distribution] = {}
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in seen or _top(name) in PINNED:
            continue
        seen.add(name)
        package, _, last = name.rpartition(".")
        module = find_module(package if last == "*" else name, beside)
        if module is None:
            continue
        if _top(name) not in own:
            if is_pinned(module.path):
                continue
            if (other := owner(module)) is not None:
                others[other.name] = other
                continue
        if last == "*":
            waiting.extend(starred_names(module))
            continue
        # A checkout may change line ends, not what the code does.
        content = module.path.read_bytes()
        paths.append(module.path)
        contents[name] = content.replace(b"\r\n", b"\n") if module.is_source else content
        if package:  # importing a module runs its packages' __init__ too
            waiting.append(package)
        if module.is_source:
            waiting.extend(imported_names(contents[name], name if module.is_package else package))
    for key, path in _data_files(cls).items():
        try:
            contents[key] = path.read_bytes()
        except OSError as reason:
            raise UsageError(
                f"{getattr(cls, 'name', cls.__name__)}: data_files names {key.partition(':')[2]!r}, but {path} cannot "
                f"be read ({in_words(reason)}); data_files are relative to the file of the class"
            ) from None
        paths.append(path)
    return Sources(contents, paths, closure(others.values()))


def _data_files(cls: type) -> dict[str, Path]:
    """The files that a class and its bases declare, by module and name."""
    return {
        f"{base.__module__}:{name}": Path(inspect.getfile(base)).parent / name
        for base in cls.__mro__
        for name in vars(base).get("data_files", ())
    }


def _content(one: Distribution) -> str:
    """Hex SHA-256 over a distribution's modules, as they lie on the disk."""
    digest = hashlib.sha256()
    for file in sorted(one.files or (), key=str):
        if file.suffix in (".py", ".so", ".pyd"):
            with contextlib.suppress(OSError):
                digest.update(f"{file}\0".encode() + Path(str(file.locate())).read_bytes())
    return digest.hexdigest()


@cache
def recorded_sources(distribution: str) -> Mapping[str, str]:
    """The hash in records by today's hash, for variants whose files changed in words or names only.

    A distribution says so in ``recorded_sources.toml`` beside its modules: that today's code makes the same weights and
    samples, bit for bit. Without it, a corrected comment would make every published record one of other code.
    """
    found: dict[str, str] = {}
    for package in sorted(packages(distribution)):
        with contextlib.suppress(ModuleNotFoundError, TypeError, OSError):
            found |= tomllib.loads((files(package) / "recorded_sources.toml").read_text())
    return found


def _is_standard(name: str, path: Path) -> bool:
    return _top(name) in sys.stdlib_module_names and is_pinned(path)


def _top(name: str) -> str:
    return name.partition(".")[0]
