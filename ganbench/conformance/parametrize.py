"""The decorator ``parametrize_with_checks``. Importing it brings neither pytest nor torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any


def parametrize_with_checks(
    plugins: Any, *, kind: str | None = None, expected_failed_checks: Mapping[str, str] | None = None
) -> Callable[[Any], Any]:
    """Run a test once for every plugin and every check of it: ``def test_conformance(plugin, check): check(plugin)``.

    Args:
        plugins: names of installed plugins, classes of variants, or instances of other kinds; one, or a list of them.
        kind: of the plugins, where a name means several.
        expected_failed_checks: reasons by the names of checks that are known to fail; beside those in the attribute
            of that name of each plugin, which is all that ``ganbench check`` reads. One that passes after all is a
            failure: the entry is out of date.
    """
    import pytest

    from ganbench.conformance.pytest_plugin import MARK

    if isinstance(plugins, str) or not isinstance(plugins, Iterable):
        plugins = [plugins]
    mark: Callable[[Any], Any] = getattr(pytest.mark, MARK)(list(plugins), kind, dict(expected_failed_checks or {}))
    return mark
