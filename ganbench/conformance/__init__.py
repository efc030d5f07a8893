"""Conformance checks: does a plugin keep the contract? Each check has a name, and a reason its author can act on.

    from ganbench.conformance import parametrize_with_checks

    @parametrize_with_checks(["my-gan"])
    def test_conformance(plugin, check):
        check(plugin)

``ganbench check my-gan`` runs the same checks, each in a process of its own. Names load when they are used: importing
this brings no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganbench.conformance.checking import Check
    from ganbench.conformance.errors import CheckFailed, Passed
    from ganbench.conformance.parametrize import parametrize_with_checks
    from ganbench.conformance.subjects import Subject, subject
    from ganbench.conformance.suite import checks_for

_HOMES = {
    "Check": "checking",
    "CheckFailed": "errors",
    "Passed": "errors",
    "Subject": "subjects",
    "checks_for": "suite",
    "parametrize_with_checks": "parametrize",
    "subject": "subjects",
}
__all__ = ["Check", "CheckFailed", "Passed", "Subject", "checks_for", "parametrize_with_checks", "subject"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"ganbench.conformance has no {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(f"ganbench.conformance.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
