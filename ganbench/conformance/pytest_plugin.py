"""The pytest plugin (entry point ``pytest11``): expands ``@parametrize_with_checks`` when tests are collected.

It imports nothing of ganbench before a test asks for it.
"""

from __future__ import annotations

from typing import Any

import pytest

MARK = "ganbench_checks"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{MARK}: conformance checks of ganbench plugins, made by ganbench.conformance.parametrize_with_checks",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark = metafunc.definition.get_closest_marker(MARK)
    if mark is None:
        return
    if missing := {"plugin", "check"} - set(metafunc.fixturenames):
        raise pytest.Collector.CollectError(
            f"a test with @parametrize_with_checks takes the arguments plugin and check; {metafunc.function.__name__} "
            f"lacks {' and '.join(sorted(missing))}: def {metafunc.function.__name__}(plugin, check): check(plugin)"
        )
    from ganbench.utils.errors import UsageError

    try:
        parameters = list(_parameters(*mark.args))
    except UsageError as reason:
        raise pytest.Collector.CollectError(f"ganbench: {reason}") from None
    metafunc.parametrize(("plugin", "check"), parameters)


def _parameters(plugins: list[Any], kind: str | None, expected: dict[str, str]) -> Any:
    from ganbench.conformance.subjects import subject
    from ganbench.conformance.suite import checked_reasons, checks_for, expected_failures

    for plugin in plugins:
        found = subject(plugin, kind)
        reasons = {**expected_failures(found), **checked_reasons(expected, found)}
        for check in checks_for(found):
            known = reasons.get(check.name)
            marks = [pytest.mark.xfail(reason=known, strict=True)] if known else []
            yield pytest.param(found, check, marks=marks, id=f"{found}-{check}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    """Where a check does not apply, the test is skipped; where it fails, its reason stands below the failure."""
    if item.get_closest_marker(MARK) is None:
        return (yield)
    from ganbench.conformance.errors import CheckFailed, NotChecked

    try:
        return (yield)
    except NotChecked as reason:
        pytest.skip(str(reason))
    except CheckFailed as reason:
        check = item.callspec.params["check"]  # type: ignore[attr-defined]
        reason.add_note(f"why it matters: {check.reason}")
        raise
