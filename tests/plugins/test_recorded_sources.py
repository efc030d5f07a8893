"""The reference results are results of today's variants: their records hold today's source hashes."""

from __future__ import annotations

import tomllib
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from ganbench.discovery import source_hash
from ganbench.results.store import read_records

ROOT = Path(__file__).parents[2]
RECORDED = tomllib.loads((ROOT / "plugins" / "recorded_sources.toml").read_text())
MODULES = sorted({p.value for p in entry_points(group="ganbench") if p.value.startswith("ganbench_plugins.")})
VARIANTS = {cls.name: cls for module in MODULES for cls in import_module(module).ganbench_variants()}


def test_reference_records_are_of_todays_sources() -> None:
    records = read_records(ROOT / "results" / "reference").records
    found = {r.identity.trial.variant: r.identity.trial.source for r in records}
    assert len(found) > 15
    assert {name: source_hash.source_hash(VARIANTS[name], "ganbench") for name in found} == found


def test_no_line_is_left_of_files_that_changed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_hash, "recorded_sources", lambda distribution: {})
    assert set(RECORDED) <= {source_hash.source_hash(cls, "ganbench") for cls in VARIANTS.values()}
