"""What a check is: a name, a reason, and a function that raises where a plugin does not conform."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class CheckFailed(AssertionError):
    """A plugin does not conform. The message says what was seen and what to do about it."""


class NotChecked(Exception):
    """The check has no meaning for this plugin; the message says why. It is no failure."""


class Passed(str):
    """A remark of a check that passed: shapes that were tried, a time that was measured."""


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
        from ganbench.conformance.suite import run

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
