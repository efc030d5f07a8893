"""What is installed: entry points, and files named with ``--plugin-path``; all but what ``--no-plugin`` blocks.

Both options travel in the environment, so that every process of a sweep finds the same plugins.
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from ganbench.discovery.distributions import find_distributions
from ganbench.utils.errors import UsageError
from ganbench.utils.names import hint

GROUP, REPORTERS = "ganbench", "ganbench.reporters"
# The major version of what hooks, base classes and ``ganbench.plugin`` promise. Hooks only gain arguments within one.
API = 1
PATHS, BLOCKED = "GANBENCH_PLUGIN_PATH", "GANBENCH_NO_PLUGIN"
FILE = "file:"  # begins the distribution of what a file offers


@dataclass(frozen=True, eq=False)
class Point:
    """An entry point, or a file that stands in for one.

    Attributes:
        name: of the entry point; of a file, its name without the suffix.
        value: the module; of a file, its name.
        module: what ``sys.modules`` calls it.
        distribution: the package that brings it; ``file:my_gan.py`` for a file.
        version: of that package; empty for a file.
    """

    name: str
    value: str
    module: str
    distribution: str
    version: str = ""
    entry: EntryPoint | None = None
    path: Path | None = None

    def load(self) -> Any:
        """Import it; raises whatever the import raises."""
        if self.entry is not None:
            return self.entry.load()
        if self.module in sys.modules:
            return sys.modules[self.module]
        spec = spec_from_file_location(self.module, str(self.path))
        if spec is None or spec.loader is None:
            raise ImportError(f"{self.value} is no Python file")
        module = module_from_spec(spec)
        sys.modules[self.module] = module  # before it runs, as an import does: dataclasses look their module up
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[self.module]
            raise
        return module


@dataclass(frozen=True)
class Installed:
    """Entry points by name, those of one name together; files; and what is blocked.

    Attributes:
        damaged: by the distribution's name and version, why its entry points cannot be read.
        left_over: what to delete of an installation that was interrupted.
    """

    points: dict[str, list[Point]] = field(default_factory=dict)
    files: list[Point] = field(default_factory=list)
    blocked: list[Point] = field(default_factory=list)
    damaged: dict[tuple[str, str], str] = field(default_factory=dict)
    left_over: list[str] = field(default_factory=list)


def plugin_files(paths: Iterable[Path | str]) -> str:
    """The value of ``GANBENCH_PLUGIN_PATH`` for some files; raises UsageError for one that is no Python file."""
    found = []
    for path in map(Path, paths):
        if path.suffix != ".py" or not path.is_file():
            why = "is a folder: install it with pip install -e" if path.is_dir() else "is no Python file"
            raise UsageError(f"--plugin-path {path}: {why}" if path.exists() else f"--plugin-path {path}: no such file")
        found.append(str(path.resolve()))
    return os.pathsep.join(found)


def find_installed(group: str = GROUP) -> Installed:
    """Find the plugins of the environment, importing none; raises UsageError for a blocked name that nothing has."""
    installed = Installed()
    points: list[Point] = []
    names = [name for name in os.environ.get(BLOCKED, "").split(",") if name]
    known: set[str] = set()
    found, left_over = find_distributions()
    installed.left_over.extend(left_over)
    for one in found:
        try:
            for entry in one.entries(group):
                points.append(Point(entry.name, entry.value, entry.module, one.name, one.version, entry))
            if names and group == GROUP and (reporters := one.entries(REPORTERS)):
                known |= {one.name, *(entry.name for entry in reporters)}
        except ValueError as reason:
            installed.damaged[one.name, one.version] = str(reason)
            # torch, once imported, would read all of them for backends, and raise at this one.
            os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
    if group == GROUP:
        points += _files()
        known |= {name for point in points for name in (point.name, point.distribution)}
        _check_blocked(names, known)
    by_name: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        if point.name in names or point.distribution in names:
            installed.blocked.append(point)
        elif point.path is not None:
            installed.files.append(point)
        else:
            by_name[point.name].append(point)
    installed.points.update({name: sorted(same, key=lambda p: p.distribution) for name, same in by_name.items()})
    return installed


def _files() -> list[Point]:
    found: dict[str, Point] = {}
    for text in os.environ.get(PATHS, "").split(os.pathsep):
        if not text:
            continue
        path = Path(text)
        module = "ganbench_file_" + re.sub(r"\W", "_", path.stem)
        if module in found and found[module].path != path:
            raise UsageError(f"--plugin-path names two files called {path.name}: rename one of them")
        found[module] = Point(path.stem, path.name, module, FILE + path.name, path=path)
    return list(found.values())


def _check_blocked(names: list[str], known: set[str]) -> None:
    for name in names:
        if name not in known:
            told = hint(name, known, "ganbench list shows what there is")
            raise UsageError(f"--no-plugin {name}: no entry point and no distribution has that name; {told}")


def why_outdated(api: Any) -> str | None:
    """Why a plugin that declares this GANBENCH_API cannot be used; None where it can."""
    if api is None or (type(api) is int and api == API):
        return None
    if type(api) is not int:
        return f"GANBENCH_API is {api!r}: expected a whole number, GANBENCH_API = {API}"
    remedy = "upgrade ganbench" if api > API else "install a newer release of the plugin"
    return f"it was written for version {api} of the plugin interface, and this ganbench has version {API}: {remedy}"


def declared_api(point: Point) -> Any:
    """Read GANBENCH_API in the text of a module that did not import: it may need a name that only its version has."""
    with contextlib.suppress(Exception):
        path = point.path or Path(str(find_spec(point.module).origin))  # type: ignore[union-attr]
        for node in ast.parse(path.read_bytes()).body:
            targets = {ast.Assign: "targets", ast.AnnAssign: "target"}.get(type(node))
            named = getattr(node, targets) if targets else []
            if any(getattr(t, "id", "") == "GANBENCH_API" for t in (named if isinstance(named, list) else [named])):
                return ast.literal_eval(node.value)  # type: ignore[attr-defined]
    return None
