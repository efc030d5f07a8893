"""Records of every schema version are read for ever: each of these was written by the version of its day.

A rise of SCHEMA needs a record here, written before it is merged; none of these may be written anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from ganbench.reporters import DEFAULT
from ganbench.reporters.report import write_reports
from ganbench.results.records import as_json, read
from ganbench.results.spec import SCHEMA, TrialSpec

RECORDS = sorted((Path(__file__).parents[1] / "fixtures" / "records").glob("schema-*/*.json"))


def test_every_version_of_the_schema_has_a_record() -> None:
    assert {path.parent.name for path in RECORDS} == {f"schema-{version}" for version in range(1, SCHEMA + 1)}


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_old_record_is_read_and_reported(path: Path, tmp_path: Path) -> None:
    record = read(path)
    written, found = json.loads(path.read_text()), as_json(record)
    absent = found["reference"].pop("features") if "features" not in written["reference"] else None
    assert found == written and absent is None
    assert f"schema-{record.schema}" == path.parent.name
    trial = record.identity.trial
    assert TrialSpec.from_identity(record.identity).variant == trial.variant
    folder = tmp_path / trial.dataset / trial.variant / f"seed-{trial.seed}-{record.identity.id}"
    folder.mkdir(parents=True)
    (folder / "record.json").write_bytes(path.read_bytes())
    contents, _ = write_reports(tmp_path, DEFAULT)
    assert not contents.problems and len(contents.records) == 1
    (row,) = pd.read_csv(tmp_path / "trials.csv").to_dict("records")
    assert row["variant"] == record.label and row["status"] == "completed"
    for metric, value in record.values.items():
        assert value is None or row[metric] == pytest.approx(value, rel=1e-12)
