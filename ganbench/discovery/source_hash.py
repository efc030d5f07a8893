"""The source hash of a variant: the code that makes its weights, whatever folder it is installed in."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import sys
import tomllib
from collections.abc import Mapping
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
    contents, others = sources(cls, distribution)
    if distribution.startswith(FILE) and len(contents) == 1 and not others:
        return hashlib.sha256(*contents.values()).hexdigest()
    digest = hashlib.sha256()
    for name in sorted(contents):
        content = contents[name]
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    for one in others:
        digest.update(f"{one.name}\0{one.version}\0{_content(one)}\0".encode())
    return recorded_sources(distribution).get(digest.hexdigest(), digest.hexdigest())


def sources(cls: type, distribution: str) -> tuple[dict[str, bytes], list[Distribution]]:
    """What the source hash covers: contents by the name of a module or data file, and other distributions, by name."""
    modules = [owner.__module__ for owner in cls.__mro__ if _top(owner.__module__) not in PINNED]
    modules = [name for name in modules if (found := find_module(name)) is None or not _is_standard(name, found.path)]
    own = {_top(module) for module in modules} | packages(distribution)
    beside = Path(inspect.getfile(cls)).parent if distribution.startswith(FILE) else None
    contents: dict[str, bytes] = {}
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
        contents[name] = content.replace(b"\r\n", b"\n") if module.is_source else content
        if package:  # importing a module runs its packages' __init__ too
            waiting.append(package)
        if module.is_source:
            waiting.extend(imported_names(contents[name], name if module.is_package else package))
    return contents | _data_files(cls), closure(others.values())


def _data_files(cls: type) -> dict[str, bytes]:
    """What the files that a class and its bases declare hold, by module and name; raises UsageError."""
    found: dict[str, bytes] = {}
    for base in cls.__mro__:
        for name in vars(base).get("data_files", ()):
            path = Path(inspect.getfile(base)).parent / name
            try:
                found[f"{base.__module__}:{name}"] = path.read_bytes()
            except OSError as reason:
                raise UsageError(
                    f"{getattr(cls, 'name', cls.__name__)}: data_files names {name!r}, but {path} cannot be read "
                    f"({in_words(reason)}); data_files are relative to the file of the class"
                ) from None
    return found


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
