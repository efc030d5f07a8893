"""The catalog: what plugins offer, what of it cannot be used, and why."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

from ganbench.discovery.entry_points import Point
from ganbench.plugin.interfaces import Dataset, Extractor, Metric
from ganbench.utils.errors import UsageError
from ganbench.utils.names import check_name, hint

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
    module: str = ""
    hooks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Broken:
    """An entry point that could not be used, and why."""

    entry: str
    distribution: str
    version: str
    reason: str


@dataclass(frozen=True)
class Blocked:
    """An entry point that ``--no-plugin`` names: it was not imported."""

    entry: str
    distribution: str
    version: str


@dataclass
class Catalog:
    """What was found: offers by kind and name, what is broken, what is blocked, what is offered twice."""

    offers: dict[tuple[str, str], Offer] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)
    duplicates: dict[tuple[str, str], str] = field(default_factory=dict)
    blocked: list[Blocked] = field(default_factory=list)
    observers: dict[str, ModuleType] = field(default_factory=dict)
    installed: dict[str, list[Point]] = field(default_factory=dict)
    left_over: list[str] = field(default_factory=list)

    def names(self, kind: str) -> list[str]:
        return sorted(name for k, name in self.offers if k == kind)

    def offered(self, kind: str, name: str) -> bool:
        """Whether a plugin has this name, or is a family that may have such a member; none is built to find out."""
        wider = (self.offers.get((kind, family)) for family in families(kind, name))
        return (kind, name) in self.offers or any(o.thing.is_family for o in wider if o is not None)

    def is_unusable(self, entry: str) -> bool:
        """Whether an entry point is known to be of no use: broken, or blocked."""
        return entry in {*(bad.entry for bad in self.broken), *(out.entry for out in self.blocked)}

    def get(self, kind: str, name: str) -> Offer:
        """The offer of that name; raises DiscoveryError, naming the nearest known ones."""
        for key in ((kind, name), ("entry point", name)):
            if key in self.duplicates:
                raise DiscoveryError(self.duplicates[key])
        if (kind, name) in self.offers:
            return self.offers[kind, name]
        for family in families(kind, name):
            offer = self.offers.get((kind, family))
            thing = offer.thing.member(name) if offer is not None else None
            if offer is not None and thing is not None:
                return replace(offer, name=checked_name(kind, thing), thing=thing)
        for bad in self.broken:
            if bad.entry in (name, *families(kind, name)):
                raise DiscoveryError(f"{kind} {name!r} ({bad.distribution}) cannot be used: {bad.reason}")
        for point in self.blocked:
            if point.entry in (name, *families(kind, name)):
                raise DiscoveryError(
                    f"{kind} {name!r} ({point.distribution}) is blocked by --no-plugin; leave that out to use it"
                )
        message = str(self.unknown(kind, name))
        same = [offer for offer in self.offers.values() if offer.entry == name]
        if same:
            offers = ", ".join(f"{offer.kind} {offer.name}" for offer in same)
            where = (
                same[0].distribution
                if name not in self.installed
                else f"the entry point {name} of {same[0].distribution}"
            )
            message += f"; {where} offers {offers}"
        if kind == "dataset" and ":" not in name and os.path.isdir(name):
            message += f"; folder:{name} makes a dataset of the pictures in that folder"
        raise DiscoveryError(message)

    def means(self, kind: str, name: str) -> bool:
        """Whether the name is on offer, or a member of a family that is; of ``folder:PATH`` nothing is read.

        What is broken or blocked keeps its name: a path does not take its place.
        """
        if (kind, name) in self.offers or (kind, name) in self.duplicates or self.is_unusable(name):
            return True
        for offer in (self.offers.get((kind, family)) for family in families(kind, name)):
            if offer is not None and offer.thing.is_family:
                try:
                    if ":" in name or offer.thing.member(name) is not None:
                        return True
                except UsageError:  # it has the form of a member's name and is none
                    continue
        return False

    def unknown(self, kind: str, name: str) -> DiscoveryError:
        """What to raise for a name that nothing has: it names the nearest ones, or all."""
        return DiscoveryError(f"there is no {kind} {name!r}; {hint(name, self.names(kind))}")


def families(kind: str, name: str) -> list[str]:
    """The offers that ``name`` may be a member of: ``folder`` of ``folder:photos``, ``cnn`` of ``kmnist-cnn``,
    ``inception-v3`` of ``inception-v3@1a2b3c4d``.

    ``Kind.member`` says which of their names are its own.
    """
    if kind not in ("dataset", "extractor"):
        return []
    for mark in ":@":
        before, found, _ = name.partition(mark)
        if found:
            return [before]
    first, dash, last = name.rpartition("-")
    return [first, last] if dash else []


def checked_name(kind: str, thing: Any) -> str:
    """Check what a hook returned and give its name; raises TypeError or ValueError where it is not of its kind."""
    hook = f"ganbench_{kind}s"
    if kind == "variant":
        from ganbench.plugin.variant import Variant  # torch is needed only once a variant is on offer

        if isinstance(thing, Variant):
            raise TypeError(f"{hook} returned an instance of {type(thing).__name__}: expected the class itself")
        if not (isinstance(thing, type) and issubclass(thing, Variant)):
            raise TypeError(f"{hook} returned {thing!r}: expected subclasses of Variant (or GAN) of ganbench.plugin")
        if not isinstance(getattr(thing, "name", None), str):
            raise TypeError(f"the variant {thing.__name__} has no name: give the class one, name = 'my-gan'")
    elif isinstance(thing, type) and issubclass(thing, _TYPES[kind]):
        raise TypeError(f"{hook} returned the class {thing.__name__}: expected an instance, {thing.__name__}()")
    elif not isinstance(thing, _TYPES[kind]):
        raise TypeError(f"{hook} returned {thing!r}: expected instances of {_TYPES[kind].__name__}")
    check_name(thing.name.partition("@")[0] if kind == "extractor" else thing.name)  # of given weights: name@hash8
    return str(thing.name)
