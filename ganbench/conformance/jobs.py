"""What ``ganbench check`` runs in processes of their own: listing the checks of a plugin, and running one of them."""

from __future__ import annotations

import time
from typing import Any

from ganbench.conformance import opened_files
from ganbench.conformance.checking import run
from ganbench.conformance.errors import CheckFailed, NotChecked
from ganbench.conformance.subjects import subject, subjects
from ganbench.conformance.suite import expected_failures, suite


def list_checks(payload: dict[str, Any]) -> dict[str, Any]:
    """What is installed under a ``name`` (and of a kind, ``of``, or any), with its checks and known failures."""
    found = []
    for one in subjects(payload["name"], payload["of"]):
        expected = expected_failures(one)
        checks = [
            {"name": check.name, "reason": check.reason, "expected": expected.get(check.name)}
            for check in suite(one.kind).checks.values()
        ]
        about = {"kind": one.kind, "name": one.name, "distribution": one.distribution, "version": one.version}
        found.append({**about, "checks": checks})
    return {"subjects": found}


def run_check(payload: dict[str, Any]) -> dict[str, Any]:
    """One ``check`` of the plugin ``name`` of kind ``of``: its status, and what there is to say."""
    if payload["check"] == "sources_known":
        opened_files.watch()  # before the plugin is imported
    one = subject(payload["name"], payload["of"])
    start = time.perf_counter()
    try:
        found = {"status": "passed", "message": run(suite(one.kind).checks[payload["check"]], one) or ""}
    except NotChecked as reason:
        found = {"status": "skipped", "message": str(reason)}
    except CheckFailed as reason:
        found = {"status": "failed", "message": str(reason)}
    return {**found, "seconds": time.perf_counter() - start}
