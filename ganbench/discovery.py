"""Discovery: from installed entry points to a Catalog of what is on offer.

pluggy's own loader lets one broken import take everything down and silently drops the second of two
plugins of one name, so entry points are walked here, one at a time. Nothing is known by name: what
ships with ganbench arrives through the same entry points as anybody's.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

import pluggy

from ganbench import hookspecs
from ganbench.errors import UsageError, in_words
from ganbench.kinds import Dataset, Extractor, Metric
from ganbench.names import check_name
from ganbench.rehearsal import lethal

GROUP = "ganbench"
KINDS = ("variant", "dataset", "extractor", "metric")
_TYPES: dict[str, type] = {"dataset": Dataset, "extractor": Extractor, "metric": Metric}


class DiscoveryError(UsageError):
    """A name that cannot be used: unknown, offered twice, or behind a plugin that failed to import."""


@dataclass(frozen=True)
class Offer:
    """One thing on offer and where it comes from."""

    kind: str
    name: str
    thing: Any
    entry: str
    distribution: str
    version: str


@dataclass(frozen=True)
class Broken:
    """An entry point that could not be used, and why."""

    entry: str
    distribution: str
    reason: str


@dataclass
class Catalog:
    """What was found: offers by kind and name, what is broken, what is offered twice."""

    offers: dict[tuple[str, str], Offer] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)
    duplicates: dict[tuple[str, str], str] = field(default_factory=dict)
    observers: dict[str, ModuleType] = field(default_factory=dict)
    installed: dict[str, list[EntryPoint]] = field(default_factory=dict)

    def names(self, kind: str) -> list[str]:
        return sorted(name for k, name in self.offers if k == kind)

    def offered(self, kind: str, name: str) -> bool:
        """Whether the name is on offer, or a family whose member it may be; nothing is made to find out."""
        families = (self.offers.get((kind, family)) for family in _families(kind, name))
        return (kind, name) in self.offers or any(hasattr(o.thing, "member") for o in families if o is not None)

    def is_broken(self, entry: str) -> bool:
        return any(bad.entry == entry for bad in self.broken)

    def get(self, kind: str, name: str) -> Offer:
        """The offer of that name; raises DiscoveryError, naming the nearest known ones."""
        for key in ((kind, name), ("entry point", name)):
            if key in self.duplicates:
                raise DiscoveryError(self.duplicates[key])
        if (kind, name) in self.offers:
            return self.offers[kind, name]
        for family in _families(kind, name):
            offer = self.offers.get((kind, family))
            thing = offer.thing.member(name) if offer is not None and hasattr(offer.thing, "member") else None
            if offer is not None and thing is not None:
                return replace(offer, name=_named(kind, thing), thing=thing)
        for bad in self.broken:
            if bad.entry in (name, *_families(kind, name)):
                raise DiscoveryError(f"{kind} {name!r} ({bad.distribution}) cannot be used: {bad.reason}")
        known = self.names(kind)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        message = f"there is no {kind} {name!r}"
        if near:
            message += f"; did you mean {' or '.join(near)}?"
        elif known:
            message += f"; there are {', '.join(known)}"
        if name in self.installed:
            found = [f"{k} {n}" for (k, n), offer in self.offers.items() if offer.entry == name]
            offers = ", ".join(found) or "nothing (is its hook marked with hookimpl?)"
            message += f"; the entry point {name} of {_distribution(self.installed[name][0])} offers {offers}"
        raise DiscoveryError(message)


def discover(wanted: Iterable[tuple[str, str]] | None = None, observers: Iterable[str] = ()) -> Catalog:
    """Import plugins and ask their hooks.

    Args:
        wanted: pairs (kind, name). The entry points of those names are imported, then all others, in
            sorted order, only if a name is still missing. None imports everything. A plugin that ends the process
            that imports it is listed as broken only where all are imported: one that was asked for by name is the
            request's to answer for.
        observers: entry points imported for their observing hooks.

    Raises DiscoveryError when two plugins that had to be imported offer the same thing, or two entry
    points have one name, naming both distributions. With ``wanted`` None they are listed instead.
    """
    catalog = Catalog(installed=_installed())
    loader = _Loader(catalog)
    if wanted is None:
        loader.load_all()
        return catalog
    wanted = list(wanted)
    entries = [*observers]
    for kind, name in wanted:
        entries += [name] if name in catalog.installed else _families(kind, name)
    loader.load(entry for entry in dict.fromkeys(entries) if entry in catalog.installed)
    for message in catalog.duplicates.values():
        raise DiscoveryError(message)
    if any(not catalog.offered(*offer) and not catalog.is_broken(offer[1]) for offer in wanted):
        loader.load_all()
    for name in observers:
        if name not in loader.modules:
            catalog.get("observer", name)
        catalog.observers[name] = loader.modules[name]
    return catalog


class _Loader:
    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.modules: dict[str, ModuleType] = {}
        self.tried: set[str] = set()
        self.asked: set[int] = set()
        self.lethal: dict[int, str] = {}

    def load_all(self) -> None:
        """Import every plugin; one that the process would not survive is found out in a child, and left out."""
        ours = [name for name, points in self.catalog.installed.items() if _distribution(points[0]) == "ganbench"]
        self.load(sorted(ours))  # first: what they import the child need not import again
        names = sorted(self.catalog.installed.keys() - self.tried)
        points = [point for name in names for point in self.catalog.installed[name]]
        self.lethal = {id(points[i]): how for i, how in lethal(points, self._load).items()}
        self.load(names)

    def load(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self.tried:
                continue
            self.tried.add(name)
            points = self.catalog.installed[name]
            if len(points) > 1:
                who = " and ".join(_distribution(point) for point in points)
                self.catalog.duplicates["entry point", name] = (
                    f"the entry point {name} is installed by both {who}; uninstall one of them"
                )
            for point in points:
                self._load(point)

    def _load(self, point: EntryPoint) -> None:
        if id(point) in self.lethal:
            self._break(point, f"importing {point.value} {self.lethal[id(point)]}; uninstall it or have it mended")
            return
        try:
            module = point.load()
        except KeyboardInterrupt:
            raise
        except BaseException as reason:  # a plugin may call sys.exit at import; it must not end the host
            self._break(point, f"importing {point.value} raised {in_words(reason)}")
            return
        self.modules[point.name] = module
        if id(module) in self.asked:  # several entry points may lead to one module
            return
        self.asked.add(id(module))
        try:
            for kind, things in _ask(module, point.name).items():
                for thing in things:
                    self._offer(kind, thing, point)
        except Exception as reason:
            self._break(point, in_words(reason))

    def _offer(self, kind: str, thing: Any, point: EntryPoint) -> None:
        name = _named(kind, thing)
        version = point.dist.version if point.dist else ""
        offer = Offer(kind, name, thing, point.name, _distribution(point), version)
        other = self.catalog.offers.get((kind, name))
        if other is not None:
            self.catalog.duplicates[kind, name] = (
                f"{kind} {name} is offered by both {other.distribution} ({other.entry}) and "
                f"{offer.distribution} ({offer.entry}); uninstall or rename one of them"
            )
            return
        self.catalog.offers[kind, name] = offer

    def _break(self, point: EntryPoint, reason: str) -> None:
        self.catalog.broken.append(Broken(point.name, _distribution(point), reason))


def _families(kind: str, name: str) -> list[str]:
    """The offers that ``name`` may be a member of: ``folder`` of ``folder:photos``, ``cnn`` of ``mnist-cnn``,
    ``inception-v3`` of ``inception-v3@1a2b3c4d``.

    Such an offer has ``member(name)``, which returns the thing of that name, or None where it is none of its own.
    """
    if kind not in ("dataset", "extractor"):
        return []
    for mark in ":@":
        before, found, _ = name.partition(mark)
        if found:
            return [before]
    first, dash, last = name.rpartition("-")
    return [first, last] if dash else []


def _ask(module: ModuleType, name: str) -> dict[str, list[Any]]:
    """Register one module with a manager of its own and call its offering hooks."""
    manager = pluggy.PluginManager("ganbench")
    manager.add_hookspecs(hookspecs)
    manager.register(module, name=name)
    manager.check_pending()  # raises, naming the function, for a hook that ganbench does not have
    answers = {}
    for kind in KINDS:
        answers[kind] = [thing for things in getattr(manager.hook, f"ganbench_{kind}s")() for thing in things]
    return answers


def _named(kind: str, thing: Any) -> str:
    if kind == "variant":
        from ganbench.variant import Variant  # torch is needed only once a variant is on offer

        if not (isinstance(thing, type) and issubclass(thing, Variant)):
            raise TypeError(f"ganbench_variants returned {thing!r}: expected subclasses of Variant")
        if not isinstance(getattr(thing, "name", None), str):
            raise TypeError(f"the variant {thing.__name__} has no name")
    elif not isinstance(thing, _TYPES[kind]):
        raise TypeError(f"ganbench_{kind}s returned {thing!r}: expected instances of {_TYPES[kind].__name__}")
    check_name(thing.name.partition("@")[0] if kind == "extractor" else thing.name)  # of given weights: name@hash8
    return str(thing.name)


def _installed() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = defaultdict(list)
    for point in entry_points(group=GROUP):
        found[point.name].append(point)
    return {name: sorted(points, key=_distribution) for name, points in found.items()}


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "unknown"
