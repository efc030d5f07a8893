"""Asking one module what it offers, through the hooks that it implements."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pluggy

from ganbench.discovery.catalog import KINDS
from ganbench.plugin import hookspecs
from ganbench.utils.names import hint

HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("ganbench_"))
OFFERING = frozenset(f"ganbench_{kind}s" for kind in KINDS)  # the others observe


def ask(module: ModuleType, name: str) -> dict[str, list[Any]]:
    """What a module offers, by kind. Raises TypeError for a hook that there is not and for an answer that is no list.

    pluggy names the plugin ``name`` where it raises itself.
    """
    manager = pluggy.PluginManager("ganbench")
    manager.add_hookspecs(hookspecs)
    manager.register(module, name=name)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError:
        unknown = [caller.name for caller in manager.get_hookcallers(module) or [] if not caller.has_spec()]
        raise TypeError(f"there is no hook {unknown[0]!r}; {hint(unknown[0], HOOKS, most=1)}") from None
    answers: dict[str, list[Any]] = {}
    for kind in KINDS:
        answers[kind] = []
        for things in getattr(manager.hook, f"ganbench_{kind}s")():
            if isinstance(things, type | str) or not hasattr(things, "__iter__"):
                kinds = "Variant classes" if kind == "variant" else f"{kind.capitalize()} instances"
                raise TypeError(f"ganbench_{kind}s returned {things!r}: expected a list of {kinds}")
            answers[kind] += things
    return answers


def hooks_of(module: ModuleType) -> tuple[str, ...]:
    """The hooks that a module has a function for, marked with @hookimpl or not."""
    return tuple(hook for hook in HOOKS if hasattr(module, hook))


def observes(module: ModuleType) -> bool:
    """Whether a module implements a hook that watches a run."""
    return any(hook not in OFFERING and _is_marked(module, hook) for hook in hooks_of(module))


def why_empty(module: ModuleType) -> str:
    """Why a module that was imported offers nothing."""
    for hook in hooks_of(module):
        if not _is_marked(module, hook):
            return f"it offers nothing: {hook}() is not marked with @hookimpl"
        return f"it offers nothing: {hook}() returned no {hook.removeprefix('ganbench_')}: expected a list of them"
    return f"it offers nothing: it has none of the hooks {', '.join(sorted(OFFERING))}"


def _is_marked(module: ModuleType, hook: str) -> bool:
    return getattr(getattr(module, hook), "ganbench_impl", None) is not None
