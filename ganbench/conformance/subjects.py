"""Find what is to be checked: one thing that a plugin offers, by its name, its class or an instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ganbench.discovery.catalog import DiscoveryError, Offer
from ganbench.discovery.loader import find
from ganbench.plugin.interfaces import Dataset, Extractor, Kind, Metric, Reporter
from ganbench.reporters import find_reporter
from ganbench.utils.errors import UsageError

_INSTANCES: dict[type, str] = {Dataset: "dataset", Extractor: "extractor", Metric: "metric", Reporter: "reporter"}


@dataclass(frozen=True)
class Subject:
    """One thing that is checked.

    Attributes:
        kind: variant, dataset, extractor, metric or reporter.
        thing: the class of a variant, the instance of anything else.
        distribution, version: where it comes from; empty for what was given as an object.
    """

    kind: str
    name: str
    thing: Any
    distribution: str = ""
    version: str = ""

    def __str__(self) -> str:
        return self.name

    @property
    def expected_failed_checks(self) -> Mapping[str, str]:
        """Its attribute of that name: reasons by the names of checks that it is known to fail."""
        found: Mapping[str, str] = self.thing.expected_failed_checks
        return found


def subject(plugin: Any, kind: str | None = None) -> Subject:
    """What is meant by a name, a class of variant, or an instance of another kind; raises UsageError."""
    if isinstance(plugin, Subject):
        return plugin
    if isinstance(plugin, str):
        found = subjects(plugin, kind)
        if len(found) > 1:
            kinds = " and a ".join(one.kind for one in found)
            raise UsageError(f"{plugin} is a {kinds}: say which kind is meant")
        return found[0]
    if isinstance(plugin, Kind):
        found_kind = next(name for base, name in _INSTANCES.items() if isinstance(plugin, base))
        return Subject(found_kind, plugin.name, plugin)
    from ganbench.plugin.variant import Variant

    if isinstance(plugin, type) and issubclass(plugin, Variant):
        return Subject("variant", getattr(plugin, "name", plugin.__name__), plugin)
    raise UsageError(
        f"{plugin!r} cannot be checked: expected the name of an installed plugin, a subclass of Variant, or an "
        "instance of Dataset, Extractor, Metric or Reporter"
    )


def subjects(name: str, kind: str | None = None) -> list[Subject]:
    """Everything that is installed under a name, of one kind or of any; raises UsageError if nothing is."""
    found: list[Subject] = []
    if kind in (None, "reporter") and (offer := find_reporter(name)) is not None:
        found.append(_subject(offer))
    if kind != "reporter":
        try:
            found += map(_subject, find(name, kind))
        except DiscoveryError:
            if not found:
                raise
    if not found:
        raise UsageError(f"there is no reporter {name!r}; its entry point is of group ganbench.reporters")
    return found


def _subject(offer: Offer) -> Subject:
    return Subject(offer.kind, offer.name, offer.thing, offer.distribution, offer.version)
