"""Importing what is installed, and listing what it offers in a Catalog.

pluggy's own loader lets one broken import take everything down and silently drops the second of two
plugins of one name, so entry points are walked here, one at a time. Nothing is known by name: what
ships with ganbench arrives through the same entry points as anybody's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from ganbench.discovery.catalog import KINDS, Blocked, Broken, Catalog, DiscoveryError, Offer, checked_name, families
from ganbench.discovery.entry_points import FILE, Point, declared_api, find_installed, why_outdated
from ganbench.discovery.hooks import ask, hooks_of, observes, why_empty
from ganbench.discovery.import_probe import find_lethal
from ganbench.utils.errors import in_words, location
from ganbench.utils.names import hint

__all__ = ["KINDS", "Catalog", "DiscoveryError", "Offer", "discover", "find"]


def discover(wanted: Iterable[tuple[str, str]] | None = None, observers: Iterable[str] = ()) -> Catalog:
    """Import plugins and ask their hooks.

    Args:
        wanted: pairs (kind, name). The entry points of those names are imported, then all others, in
            sorted order, only if a name is still missing. None imports everything. A plugin that ends the process
            that imports it is listed as broken only where all are imported: one that was asked for by name is the
            request's to answer for.
        observers: entry points imported for their observing hooks.

    What --plugin-path names is always imported, what --no-plugin names never. Raises DiscoveryError when two plugins
    that had to be imported offer the same thing, or two entry points have one name, naming both distributions, and
    for a file that cannot be imported. With ``wanted`` None they are listed instead.
    """
    loader = _Loader()
    catalog = loader.catalog
    if wanted is None:
        loader.load_all()
        return catalog
    wanted = list(wanted)
    entries = [*observers]
    for kind, name in wanted:
        entries += [name] if name in catalog.installed else families(kind, name)
    loader.load_files()
    loader.load(entry for entry in dict.fromkeys(entries) if entry in catalog.installed)
    for message in catalog.duplicates.values():
        raise DiscoveryError(message)
    if any(not catalog.offered(*offer) and not catalog.is_unusable(offer[1]) for offer in wanted):
        loader.load_all()
    for name in observers:
        if name not in loader.modules:
            catalog.get("observer", name)
        catalog.observers[name] = loader.modules[name]
    return catalog


def find(name: str, kind: str | None = None) -> list[Offer]:
    """What is on offer under a name, of one kind or of any; raises DiscoveryError if there is nothing, or two of one.

    Imports as little as ``discover`` does.
    """
    loader = _Loader()
    catalog = loader.catalog
    kinds = [kind] if kind else list(KINDS)
    loader.load_files()
    loader.load([name] if name in catalog.installed else [])
    if not any(catalog.offered(k, name) for k in kinds) and not catalog.is_unusable(name):
        loader.load_all()
    asked = [k for k in kinds if catalog.offered(k, name)]
    if not asked and kind is None and not catalog.is_unusable(name) and name not in catalog.installed:
        told = hint(name, sorted({known for _, known in catalog.offers}), "ganbench list shows what there is")
        raise DiscoveryError(f"nothing called {name!r} is installed; {told}")
    found = []
    for k in asked or kinds[:1]:
        with contextlib.suppress(DiscoveryError) if len(asked) > 1 else contextlib.nullcontext():
            found.append(catalog.get(k, name))  # raises, saying why, what no kind has
    return found


class _Loader:
    def __init__(self) -> None:
        found = find_installed()
        blocked = [Blocked(point.name, point.distribution, point.version) for point in found.blocked]
        self.catalog = Catalog(installed=found.points, blocked=blocked, left_over=found.left_over)
        for (distribution, version), why in found.damaged.items():
            self.catalog.broken.append(Broken(distribution, distribution, version, why))
        self.files = found.files
        self.modules: dict[str, ModuleType] = {}
        self.tried: set[str] = set()
        self.asked: set[int] = set()
        self.lethal: dict[int, str] = {}

    def load_files(self) -> None:
        """Import what --plugin-path names; raises DiscoveryError for what cannot be: it was asked for."""
        for point in self.files:
            self._load(point)
        self.files = []
        for bad in (bad for bad in self.catalog.broken if bad.distribution.startswith(FILE)):
            raise DiscoveryError(f"--plugin-path {bad.entry}.py cannot be used: {bad.reason}")

    def load_all(self) -> None:
        """Import every plugin, but for those that another process, which tried them first, did not survive."""
        installed = self.catalog.installed
        ours = [name for name, points in installed.items() if points[0].distribution == "ganbench"]
        self.load(sorted(ours))  # first: what they import the child need not import again
        names = sorted(installed.keys() - self.tried)
        points = [*self.files, *(point for name in names for point in installed[name])]
        self.lethal = {id(points[i]): how for i, how in find_lethal(points).items()}
        for point in self.files:
            self._load(point)
        self.load(names)

    def load(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self.tried:
                continue
            self.tried.add(name)
            points = self.catalog.installed[name]
            if len(points) > 1:
                who = " and ".join(point.distribution for point in points)
                self.catalog.duplicates["entry point", name] = (
                    f"the entry point {name} is installed by both {who}; uninstall one of them, or leave one out "
                    f"with --no-plugin {points[-1].distribution}"
                )
            for point in points:
                self._load(point)

    def _load(self, point: Point) -> None:
        """Import what an entry point names and take in what it offers; what fails is kept as broken."""
        if id(point) in self.lethal:
            self._break(point, f"importing {point.value} {self.lethal[id(point)]}; uninstall it or have it mended")
            return
        try:
            module = point.load()
        except KeyboardInterrupt:
            raise
        except BaseException as reason:  # a plugin may call sys.exit at import; it must not end the host
            self._break(point, why_outdated(declared_api(point)) or _raised(point, reason))
            return
        if (why := why_outdated(getattr(module, "GANBENCH_API", None))) is not None:
            self._break(point, why)
            return
        self.modules[point.name] = module
        if id(module) in self.asked:  # several entry points may lead to one module
            return
        self.asked.add(id(module))
        try:
            offered = ask(module, point.name)
            for kind, things in offered.items():
                for thing in things:
                    self._offer(kind, thing, point, hooks_of(module))
        except Exception as reason:
            self._break(point, f"{in_words(reason)}{location(reason)}")
        else:
            if observes(module):
                self._offer("observer", module, point, hooks_of(module))
            elif not any(offered.values()):
                self._break(point, why_empty(module))

    def _offer(self, kind: str, thing: Any, point: Point, hooks: tuple[str, ...]) -> None:
        name = point.name if kind == "observer" else checked_name(kind, thing)
        if (name, point.distribution) in ((out.entry, out.distribution) for out in self.catalog.blocked):
            return  # another entry point led to its module
        offer = Offer(kind, name, thing, point.name, point.distribution, point.version, point.value, hooks)
        other = self.catalog.offers.get((kind, name))
        if other is not None and other.entry == offer.entry and other.distribution == offer.distribution:
            raise ValueError(f"{kind} {name} is offered twice by the same module")
        if other is not None:
            self.catalog.duplicates[kind, name] = (
                f"{kind} {name} is offered by both {other.distribution} ({other.entry}) and "
                f"{offer.distribution} ({offer.entry}); uninstall or rename one of them, or leave one out with "
                f"--no-plugin {other.entry if other.entry != offer.entry else other.distribution}"
            )
            return
        self.catalog.offers[kind, name] = offer

    def _break(self, point: Point, reason: str) -> None:
        self.catalog.broken.append(Broken(point.name, point.distribution, point.version, reason))


def _raised(point: Point, reason: BaseException) -> str:
    """Why an import failed, with the line of the plugin where it did."""
    where = "" if isinstance(reason, SyntaxError) else location(reason)  # a SyntaxError says it itself
    return f"importing {point.value} raised {in_words(reason)}{where}"
