"""The source hash of a variant: the code that makes its weights, whatever folder it is installed in."""

from __future__ import annotations

import contextlib
import hashlib
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import Distribution
from importlib.resources import files
from pathlib import Path

from ganbench.discovery.entry_points import FILE
from ganbench.discovery.imports import (
    Module,
    closure,
    find_module,
    imported_names,
    is_pinned,
    owner,
    packages,
    starred_names,
)
from ganbench.utils.errors import UsageError

# Their versions stand in the environment of a record; their files are no part of the variant.
FOREIGN = frozenset({"ganbench", "torch", "__main__"}) | frozenset(sys.stdlib_module_names)


def source_hash(cls: type, distribution: str) -> str:
    """Hex SHA-256 over the code that defines ``cls`` and its bases, outside ganbench and what it depends on.

    Of its own distributions these are the modules that define the classes and those that these import, sorted by name;
    of a file given with --plugin-path that builds on ganbench alone, it is the file's own SHA-256. Where more is
    imported (a helper beside the file, a compiled module, another distribution) or declared in ``data_files``, the hash
    goes over that too. Where only words changed, it is the hash that records know it by: see ``recorded_sources``.

    Raises:
        UsageError: ``data_files`` names what is not there.
    """
    known = recorded_sources(distribution)
    own, others = _sources(cls, distribution)
    if distribution.startswith(FILE) and len(own) == 1:
        found = hashlib.sha256(*own.values()).hexdigest()
    else:
        found = _digest(own)
        found = known.get(found, found)
    if not others:
        return found
    found = _digest({"": found.encode(), **others})
    return known.get(found, found)


def covered_files(cls: type, distribution: str) -> tuple[set[Path], set[Path]]:
    """The files that the source hash of a class goes over: its own, and those of other distributions."""
    modules, tops = _modules(cls, distribution)
    brought = _brought(modules, tops)
    own = {module.path for name, module in modules.items() if name not in brought}
    own |= {path for _, path in _data_files(cls)}
    return own, {path for one in closure(brought.values()) for _, path in _module_files(one)}


def _digest(contents: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(contents):
        digest.update(f"{name}\0{len(contents[name])}\0".encode())
        digest.update(contents[name])
    return digest.hexdigest()


def _sources(cls: type, distribution: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """By name, the contents of the modules that have always been hashed, and of everything else that decides."""
    modules, tops = _modules(cls, distribution)
    brought = _brought(modules, tops)
    own: dict[str, bytes] = {}
    others: dict[str, bytes] = {}
    for name, module in modules.items():
        if _top(name) in tops and module.is_source:
            own[name] = _text(module.content)
        elif name not in brought:
            others[f"module:{name}"] = _text(module.content) if module.is_source else module.content
    for one in closure(brought.values()):
        others |= _contents(one)
    for label, path in _data_files(cls):
        others[f"data:{label}"] = path.read_bytes()
    return own, others


def _modules(cls: type, distribution: str) -> tuple[dict[str, Module], set[str]]:
    """The modules behind a class by name, and the top-level names that are its own."""
    waiting: list[tuple[str, Path | None]] = [
        (one.__module__, None) for one in cls.__mro__ if _top(one.__module__) not in FOREIGN
    ]
    own = ({_top(name) for name, _ in waiting} | packages(distribution)) - FOREIGN
    found: dict[str, Module] = {}
    ended: set[tuple[str, Path | None]] = set()
    while waiting:
        name, beside = waiting.pop()
        if name in found or (name, beside) in ended or _top(name) in ("ganbench", "torch", "__main__"):
            continue
        ended.add((name, beside))
        module = find_module(name, beside)
        if module is not None and (_top(name) in own or not is_pinned(module)):
            found[name] = module
            package = name if module.is_package else name.rpartition(".")[0]
            # Of another distribution everything is hashed, whatever of it is imported.
            if module.is_source and (_top(name) in own or owner(module) is None):
                folder = module.path.parents[name.count(".") + module.is_package]
                names = imported_names(module.content, package)
                if module.is_package and _top(name) not in own:
                    names += [f"{name}.{part}" for part in starred_names(module.content)]
                waiting += [(one, folder) for one in names]
        if parent := name.rpartition(".")[0]:  # importing a module runs its packages' __init__ too
            waiting.append((parent, beside))
    return found, own


def _contents(one: Distribution) -> dict[str, bytes]:
    """The modules of a distribution that is installed, with its name and version."""
    name = f"distribution:{one.name}"
    found = {name: one.version.encode()}
    for file, path in _module_files(one):
        with contextlib.suppress(OSError):
            found[f"{name}/{file}"] = path.read_bytes()
    return found


def _module_files(one: Distribution) -> list[tuple[str, Path]]:
    """The modules of a distribution, by their names in it and where they lie."""
    files = [file for file in one.files or () if file.suffix in (".py", ".so", ".pyd")]
    return [(str(file), Path(str(file.locate()))) for file in files]


def _brought(modules: Mapping[str, Module], own: set[str]) -> dict[str, Distribution]:
    """By module, the other distribution that it is of; without those of the variant's own top-level names."""
    found = {name: owner(module) for name, module in modules.items() if _top(name) not in own}
    return {name: one for name, one in found.items() if one is not None}


def _data_files(cls: type) -> list[tuple[str, Path]]:
    """The files that a class and its bases declare in ``data_files``; of a folder, all that are in it."""
    found: list[tuple[str, Path]] = []
    for one in cls.__mro__:
        declared = vars(one).get("data_files", ())
        if not isinstance(declared, list | tuple) or not all(isinstance(name, str) for name in declared):
            raise UsageError(f"{one.__name__}.data_files is {declared!r}: expected file names, ('weights.json',)")
        module = find_module(one.__module__) if declared else None
        for name in declared:
            folder = Path() if module is None else module.path.parent
            path = folder / name
            if not path.exists():
                raise UsageError(f"{one.__name__}.data_files names {name!r}, and there is no such file in {folder}")
            files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
            found += [
                (f"{one.__module__}/{file.relative_to(path.parent) if path.is_dir() else name}", file) for file in files
            ]
    return found


def _text(source: bytes) -> bytes:
    """A checkout may change line ends, not what the code does."""
    return source.replace(b"\r\n", b"\n")


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


def _top(name: str) -> str:
    return name.partition(".")[0]
