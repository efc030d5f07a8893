"""What a module imports, read in its text and found as Python would find it, without importing anything."""

from __future__ import annotations

import ast
import contextlib
import re
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.machinery import SOURCE_SUFFIXES, ModuleSpec, PathFinder
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from importlib.util import find_spec, resolve_name
from pathlib import Path

IMPORTERS = ("import_module", "__import__")


@dataclass(frozen=True)
class Module:
    """A module that was found: its file, and whether it is a package."""

    name: str
    path: Path
    is_package: bool
    content: bytes

    @property
    def is_source(self) -> bool:
        return self.path.suffix in SOURCE_SUFFIXES


def imported_names(source: bytes, package: str) -> list[str]:
    """Names of the modules that a source imports, wherever in it: at its top, under a condition or in a function.

    ``from a import b`` may mean the module ``a.b``. Of ``import_module(name)`` only a name that stands there is seen.
    A source with a syntax error has none.
    """
    found = []
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # of another Python, or no text: importing it would fail likewise
        return []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute("." * node.level + (node.module or ""), package)
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in IMPORTERS:
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                found.append(_absolute(first.value, package))
    return [name for name in found if not name.startswith(".")]


def starred_names(source: bytes) -> list[str]:
    """The names in ``__all__`` of a package, which ``from package import *`` imports where they are modules."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "__all__" for target in node.targets):
            with contextlib.suppress(ValueError):
                return [name for name in ast.literal_eval(node.value) if isinstance(name, str)]
    return []


def _absolute(name: str, package: str) -> str:
    return resolve_name(name, package) if name.startswith(".") and package else name


def find_module(name: str, beside: Path | None = None) -> Module | None:
    """The module of that name, or None for what has no file: a namespace, a built-in module, a name in a module.

    Args:
        beside: a folder to look in last: a plugin may put its own folder on ``sys.path`` when it runs.
    """
    spec = _find_spec(name) or (None if beside is None else _find_below(name, [str(beside)]))
    if spec is None or not spec.origin or not spec.has_location:
        return None
    try:
        content = spec.loader.get_data(spec.origin)  # type: ignore[union-attr]  # also of a module in a zip file
    except (AttributeError, OSError):
        return None
    return Module(name, Path(spec.origin), spec.submodule_search_locations is not None, content)


def _find_spec(name: str) -> ModuleSpec | None:
    if (spec := getattr(sys.modules.get(name), "__spec__", None)) is not None:
        return spec
    parent, _, _ = name.rpartition(".")
    with contextlib.suppress(ImportError, ValueError, AttributeError):
        if not parent:
            return find_spec(name)
        above = _find_spec(parent)
        if above is not None and above.submodule_search_locations is not None:
            return PathFinder.find_spec(name, list(above.submodule_search_locations))
    return None


def _find_below(name: str, folders: list[str]) -> ModuleSpec | None:
    first, _, _ = name.partition(".")
    spec = PathFinder.find_spec(first, folders)
    for end in (i for i, letter in enumerate(f"{name}.") if letter == "." and i > len(first)):
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(name[:end], list(spec.submodule_search_locations))
    return spec


@cache
def packages(distribution: str) -> frozenset[str]:
    """Its top-level packages with Python files: what ``packages_distributions`` of Python 3.11 finds by reading the
    metadata of every distribution there is.
    """
    found: set[str] = set()
    for one in distributions(name=distribution):
        if one.name == distribution:  # it answers by a normalised name
            found |= _packages(one)
    return frozenset(found)


def _packages(one: Distribution) -> set[str]:
    if declared := (one.read_text("top_level.txt") or "").split():
        return set(declared)
    files = [file for file in one.files or () if file.suffix == ".py"]
    return {file.parts[0] if len(file.parts) > 1 else file.stem for file in files}


def is_pinned(module: Module | Path) -> bool:
    """Whether a file is the standard library's, ganbench's, or of what ganbench depends on.

    Their versions stand in the environment of a record. A file of one's own that has a name of theirs is not theirs.
    """
    path = module.path if isinstance(module, Module) else module
    if any(path.is_relative_to(folder) and "site-packages" not in path.parts for folder in _standard_library()):
        return True
    for root, tops in _pinned().items():
        if path.is_relative_to(root):
            top = path.relative_to(root).parts[0]
            if top in tops or top.partition(".")[0] in tops:
                return True
    return False


@cache
def _standard_library() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    return tuple({Path(paths[key]).resolve() for key in ("stdlib", "platstdlib")} | {Path(paths["stdlib"])})


@cache
def _pinned() -> dict[Path, set[str]]:
    """By folder of ``sys.path``, the top-level names of what ganbench depends on there, directly or not."""
    found: dict[Path, set[str]] = {}
    waiting, seen = ["ganbench"], set()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            one = distribution(name)
        except PackageNotFoundError:  # for another system
            continue
        if name != "ganbench":
            found.setdefault(Path(str(one.locate_file(""))), set()).update(_packages(one))
        waiting += [text for text in map(_required, one.requires or ()) if text]
    for package in ("ganbench", "ganbench_plugins"):
        if (spec := find_spec(package)) is not None and spec.origin:
            folder = Path(spec.origin).parent
            found.setdefault(folder.parent, set()).add(folder.name)
    return found


def _required(requirement: str) -> str | None:
    """The name of a requirement that always holds; None for one of an extra."""
    text, _, marker = requirement.partition(";")
    name = re.match(r"[\w.-]+", text.strip())
    return None if "extra" in marker or name is None else name[0]


def owner(module: Module) -> Distribution | None:
    """The installed distribution that lists a module's file; None for a file of one's own, or an editable install."""
    root = module.path.parents[module.name.count(".") + module.is_package]
    for one in _owners(root).get(module.name.partition(".")[0], ()):
        if any(Path(str(file.locate())) == module.path for file in one.files or ()):
            return one
    return None


@cache
def _owners(root: Path) -> dict[str, list[Distribution]]:
    """The distributions of a folder of ``sys.path`` that list their files, by their top-level names."""
    found: dict[str, list[Distribution]] = {}
    for one in distributions(path=[str(root)]):
        for top in _packages(one) if one.files is not None else ():
            found.setdefault(top, []).append(one)
    return found


def closure(first: Iterable[Distribution]) -> list[Distribution]:
    """Distributions with those that they require, by name; without what ganbench itself depends on."""
    found: dict[str, Distribution] = {}
    waiting = list(first)
    while waiting:
        one = waiting.pop()
        if one.name in found:
            continue
        found[one.name] = one
        for name in filter(None, map(_required, one.requires or ())):
            with contextlib.suppress(PackageNotFoundError):
                needed = distribution(name)
                tops = _pinned().get(Path(str(needed.locate_file(""))), set())
                if not _packages(needed) <= tops:
                    waiting.append(needed)
    return [found[name] for name in sorted(found)]
