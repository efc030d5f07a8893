"""The source hash of a variant: the code that makes its weights, whatever folder it is installed in."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import distributions
from importlib.resources import files
from importlib.util import find_spec, resolve_name
from pathlib import Path

from ganbench.discovery.entry_points import FILE

# Their versions stand in the environment of a record; their files are no part of the variant.
FOREIGN = frozenset({"ganbench", "torch", "__main__"}) | frozenset(sys.stdlib_module_names)


def source_hash(cls: type, distribution: str) -> str:
    """Hex SHA-256 over the files of the modules that define ``cls`` and its bases, outside ganbench and torch,
    and of the modules of the same distribution that these import, sorted by module name.

    Of a file given with --plugin-path that builds on ganbench alone, it is the file's own SHA-256. Where only words
    changed, it is the hash that records know the variant by: see ``recorded_sources``.
    """
    modules = [owner.__module__ for owner in cls.__mro__ if _top(owner.__module__) not in FOREIGN]
    own = {_top(module) for module in modules} | packages(distribution)
    texts: dict[str, bytes] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in texts or _top(name) in FOREIGN or _top(name) not in own:
            continue
        path, is_package = _locate(name)
        if path is None:
            continue
        texts[name] = path.read_bytes()
        parent = name.rpartition(".")[0]
        if parent:  # importing a module runs its packages' __init__ too
            waiting.append(parent)
        waiting.extend(_imports(texts[name], name if is_package else parent))
    # A checkout may change line ends, not what the code does.
    contents = {name: content.replace(b"\r\n", b"\n") for name, content in texts.items()}
    if distribution.startswith(FILE) and len(contents) == 1:
        return hashlib.sha256(*contents.values()).hexdigest()
    digest = hashlib.sha256()
    for name in sorted(contents):
        content = contents[name]
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return recorded_sources(distribution).get(digest.hexdigest(), digest.hexdigest())


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


def _imports(source: bytes, package: str) -> list[str]:
    """Names of the modules that a source imports; ``from a import b`` may mean the module ``a.b``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            base = resolve_name(relative, package) if node.level and package else relative
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return [name for name in found if not name.startswith(".")]


def _locate(name: str) -> tuple[Path | None, bool]:
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    if spec is None:
        try:
            spec = find_spec(name)
        except (ImportError, ValueError, AttributeError):  # a name inside a module, not a module
            return None, False
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None, False
    return Path(spec.origin), spec.submodule_search_locations is not None


def _top(name: str) -> str:
    return name.partition(".")[0]


@cache
def packages(distribution: str) -> frozenset[str]:
    """Its top-level packages with Python files: what ``packages_distributions`` of Python 3.11 finds by reading the
    metadata of every distribution there is.
    """
    found: set[str] = set()
    for one in distributions(name=distribution):
        if one.name != distribution:  # it answers by a normalised name
            continue
        files = [file for file in one.files or () if file.suffix == ".py"]
        declared = (one.read_text("top_level.txt") or "").split()
        found.update(declared or (file.parts[0] if len(file.parts) > 1 else file.stem for file in files))
    return frozenset(found) - FOREIGN
