"""Fewer samples than 2 d: said before a run, in its tables, and by no record that does not know d."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from ganbench.cli import cli
from ganbench.metrics.bias import bias_warnings
from ganbench.reporters.report import write_reports
from ganbench.reporters.terminal import show
from ganbench.utils.sealed_json import seal

WARNING = "n = 50 is below 2 d = 64: FID is mostly bias"


def test_only_metrics_that_say_so_and_only_below_their_bound() -> None:
    fid, inf, three = ({"label": label, "rows_per_feature": k} for label, k in (("FID", 2), ("FID∞", 2), ("Third", 3)))
    kid = {"label": "KID"}
    assert bias_warnings([fid, kid], 900, 32) == bias_warnings([fid], 64, 32) == bias_warnings([kid], 3, 32) == []
    first, second = bias_warnings([three, kid, fid, inf], 1500, 2048)
    assert first.startswith("n = 1,500 is below 2 d = 4,096: FID, FID∞ are mostly bias")
    assert second.startswith("n = 1,500 is below 3 d = 6,144: Third is mostly bias")


def test_a_run_and_its_tables_warn_and_older_records_stay_readable(tmp_path: Path, capsys: Any) -> None:
    words = "run -p noise -d digits --images 64 --evaluations 2 --samples 50 -m fid,kid --executor inline --results"
    small = words.split()
    results = tmp_path / "results"
    first = CliRunner().invoke(cli, [*small, str(results), "--seeds", "1"])
    assert first.exit_code == 0, first.output
    assert f"digits: {WARNING}" in first.stderr and f"warning: {WARNING}" in first.stdout
    assert (first.stdout + first.stderr).count("mostly bias") == 2  # KID has no bias
    assert f"**Warning:** {WARNING}" in (results / "leaderboard.md").read_text()
    assert WARNING in (results / "leaderboard.html").read_text()
    (path,) = results.glob("digits/noise/seed-0-*/record.json")
    whole = path.read_text()
    record = json.loads(whole)
    assert record["reference"]["features"] == 32 and record["metrics"]["fid"]["rows_per_feature"] == 2
    assert "rows_per_feature" not in record["metrics"]["kid"]

    del record["reference"]["features"], record["metrics"]["fid"]["rows_per_feature"]  # as it was written before
    path.write_text(seal(record))
    contents, report = write_reports(results, ["md"])
    show(report)
    assert not contents.problems and "FID (digits-cnn)" in capsys.readouterr().out
    assert "mostly bias" not in (results / "leaderboard.md").read_text()
    old = path.read_bytes()
    more = CliRunner().invoke(cli, [*small, str(results), "--seeds", "2"])
    assert more.exit_code == 0, more.output
    (new,) = results.glob("digits/noise/seed-1-*/record.json")
    assert json.loads(new.read_text())["reference"] == json.loads(whole)["reference"]  # not its older neighbour's
    assert path.read_bytes() == old and WARNING in more.stdout
