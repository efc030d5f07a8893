"""What is checked, and by which checks: plugins by name, by class or by instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ganbench.conformance.checking import Check, CheckFailed, NotChecked, Suite
from ganbench.discovery.catalog import DiscoveryError, Offer
from ganbench.discovery.loader import find
from ganbench.plugin.interfaces import Dataset, Extractor, Kind, Metric, Reporter
from ganbench.reporters import find_reporter
from ganbench.utils.errors import UsageError, in_words, location

_INSTANCES: dict[type, str] = {Dataset: "dataset", Extractor: "extractor", Metric: "metric", Reporter: "reporter"}


ORDER = (
    *("shapes_and_dtypes", "deterministic_under_a_seed", "exact_save_and_load", "exact_resume"),
    *("sampling_leaves_training_untouched", "no_global_state_changed", "learns_only_through_the_discriminator"),
    *("optimizers_named", "parameters_in_one_optimizer", "hyperparameters_documented", "finite_losses", "devices"),
    *("picklable_across_processes", "time_per_step"),
)


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
        found = getattr(self.thing, "expected_failed_checks", {})
        return checked_reasons(found, self)


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


def suite(kind: str) -> Suite:
    """The checks of a kind, in the order in which they are shown."""
    from ganbench.conformance.checks import datasets_extractors, declarations, metrics_reporters, state
    from ganbench.conformance.checks.variants import VARIANTS

    assert state and declarations  # they add their checks to those of variants
    ordered = Suite("variant", {name: VARIANTS.checks[name] for name in ORDER})
    return {
        one.kind: one
        for one in (
            ordered,
            datasets_extractors.DATASETS,
            datasets_extractors.EXTRACTORS,
            metrics_reporters.METRICS,
            metrics_reporters.REPORTERS,
        )
    }[kind]


def checks_for(plugin: Any) -> list[Check]:
    """The checks of a plugin, in the order in which they are shown."""
    return list(suite(subject(plugin).kind).checks.values())


def checked_reasons(found: Any, owner: Subject) -> dict[str, str]:
    """``expected_failed_checks``; raises UsageError unless it gives reasons by the names of checks."""
    known = suite(owner.kind).checks
    if not isinstance(found, Mapping) or not all(isinstance(reason, str) and reason for reason in found.values()):
        raise UsageError(f"expected_failed_checks of {owner} is no mapping of checks to reasons")
    for name in found:
        if name not in known:
            raise UsageError(
                f"expected_failed_checks of {owner}: there is no check {name!r}; there are {', '.join(known)}"
            )
    return dict(found)


def run(check: Check, plugin: Any) -> str | None:
    """Run one check in this process, whose settings and random states are put back; return its remark.

    Raises CheckFailed, with what the plugin raised as its cause, or NotChecked.
    """
    __tracebackhide__ = True
    from ganbench.conformance.surroundings import kept

    found = subject(plugin)
    if found.kind != check.kind:
        raise UsageError(f"{check.name} is a check of {check.kind}s, and {found} is a {found.kind}")
    if found.kind == "variant":
        from ganbench.conformance.bench import Bench

        target: Any = Bench(found.thing)
    else:
        target = found
    try:
        with kept():
            return check.function(target)
    except (CheckFailed, NotChecked, KeyboardInterrupt):
        raise
    except BaseException as reason:  # a plugin may call sys.exit
        raise CheckFailed(f"it raised {in_words(reason)}{location(reason)}") from reason
