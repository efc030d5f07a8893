"""The checks of each kind of plugin, and the failures that a plugin declares as known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganbench.conformance.checking import Check, Suite
from ganbench.conformance.subjects import Subject, subject
from ganbench.utils.errors import UsageError

ORDER = (
    "shapes_and_dtypes",
    "deterministic_under_a_seed",
    "exact_save_and_load",
    "exact_resume",
    "sampling_leaves_training_untouched",
    "no_global_state_changed",
    "learns_only_through_the_discriminator",
    "optimizers_named",
    "parameters_in_one_optimizer",
    "hyperparameters_documented",
    "sources_known",
    "finite_losses",
    "devices",
    "picklable_across_processes",
    "time_per_step",
)


def suite(kind: str) -> Suite:
    """The checks of a kind, in the order in which they are shown."""
    from ganbench.conformance.checks import (  # noqa: F401  they add to variants
        datasets,
        extractors,
        metrics,
        reporters,
        variant_declarations,
        variant_state,
        variants,
    )

    suites = (
        Suite("variant", dict(sorted(variants.VARIANTS.checks.items(), key=lambda item: ORDER.index(item[0])))),
        datasets.DATASETS,
        extractors.EXTRACTORS,
        metrics.METRICS,
        reporters.REPORTERS,
    )
    return next(one for one in suites if one.kind == kind)


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


def expected_failures(of: Subject) -> dict[str, str]:
    """The reasons, by the names of checks, that the plugin itself declares; raises UsageError for what is none."""
    return checked_reasons(of.expected_failed_checks, of)
