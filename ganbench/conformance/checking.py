"""The classes Check and Suite, and running a check: a named function that raises where a plugin breaks a rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ganbench.conformance.errors import CheckFailed, NotChecked
from ganbench.conformance.subjects import subject
from ganbench.utils.errors import UsageError, in_words, location


@dataclass(frozen=True)
class Check:
    """One named check.

    Attributes:
        name: what ``--checks`` and ``expected_failed_checks`` call it.
        kind: of plugin that it is for.
        reason: why a plugin has to pass it, for its author.
        function: called with the subject; returns a remark or None, raises CheckFailed or NotChecked.
    """

    name: str
    kind: str
    reason: str
    function: Callable[[Any], str | None] = field(repr=False)

    def __call__(self, plugin: Any) -> str | None:
        """Run it on a subject; raises CheckFailed, also for whatever the plugin's own code raises."""
        __tracebackhide__ = True
        return run(self, plugin)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Suite:
    """The checks of one kind of plugin, in the order in which they are shown."""

    kind: str
    checks: dict[str, Check] = field(default_factory=dict)

    def check(self, reason: str) -> Callable[[Callable[[Any], str | None]], Callable[[Any], str | None]]:
        """Add a function to the suite under its own name."""

        def add(function: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
            name = function.__name__
            self.checks[name] = Check(name, self.kind, " ".join(reason.split()), function)
            return function

        return add


def run(check: Check, plugin: Any) -> str | None:
    """Run one check in this process, whose settings and random states are put back; return its remark.

    Raises CheckFailed, with what the plugin raised as its cause, or NotChecked.
    """
    __tracebackhide__ = True
    from ganbench.conformance.process_state import process_state_kept

    found = subject(plugin)
    if found.kind != check.kind:
        raise UsageError(f"{check.name} is a check of {check.kind}s, and {found} is a {found.kind}")
    if found.kind == "variant":
        from ganbench.conformance.variant_runner import VariantRunner

        target: Any = VariantRunner(found.thing, distribution=found.distribution)
    else:
        target = found
    try:
        with process_state_kept():
            return check.function(target)
    except (CheckFailed, NotChecked, KeyboardInterrupt):
        raise
    except BaseException as reason:  # a plugin may call sys.exit
        raise CheckFailed(f"it raised {in_words(reason)}{location(reason)}") from reason
