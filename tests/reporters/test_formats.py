"""The leaderboard as LaTeX, JSON, Parquet and in a notebook, and evaluations as TensorBoard events."""

from __future__ import annotations

import importlib.util
import json

import pandas as pd
import pytest

import ganbench
from ganbench.observers import tensorboard as observer
from ganbench.plugin import Reporter
from ganbench.reporters import load_reporters
from ganbench.reporters.latex import escape
from ganbench.reporters.report import build_report, write_reports
from ganbench.results.store import read_records
from ganbench.utils.errors import UsageError


def test_json_holds_both_tables_and_what_they_mean(results):
    board = write_reports(results, ["json"]).report.leaderboard
    found = json.loads((results / "leaderboard.json").read_text(), parse_constant=pytest.fail)
    assert [row["variant"] for row in found["leaderboard"]] == board["variant"].tolist()
    assert found["leaderboard"][0]["fid"] == board["fid"].iloc[0] and found["leaderboard"][-1]["tier"] == ""
    assert found["metrics"]["fid"]["label"] == "FID" and found["primary"] == {"digits": "fid"}
    assert len(found["trials"]) == len(list(results.glob("*/*/*/record.json")))


def test_parquet_keeps_types(results, monkeypatch):
    report = write_reports(results, ["parquet"]).report
    trials = pd.read_parquet(results / "trials.parquet")
    assert trials["fid"].tolist() == report.trials["fid"].tolist() and trials["seed"].dtype == "int64"
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "pyarrow" else real(name, *rest)
    )
    with pytest.raises(UsageError, match=r"pip install 'ganbench\[parquet\]'"):
        write_reports(results, ["parquet"])


def test_latex_has_a_table_and_no_sign_that_fonts_lack(results):
    write_reports(results, ["latex"])
    text = (results / "leaderboard.tex").read_text()
    assert text.count("\\begin{tabular}") == text.count("\\end{tabular}") == 1 and "$\\downarrow$" in text
    assert text.isascii()
    rows = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert len({line.replace("\\&", "").count("&") for line in rows}) == 1


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a & b % c", r"a \& b \% c"),
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("$x_1^2$ ~#", r"\$x\_1\textasciicircum{}2\$ \textasciitilde{}\#"),
        ("a\nb\x00", "a b "),
    ],
)
def test_latex_text_is_only_text(text, escaped):
    assert escape(text) == escaped


class Counting(Reporter):
    name, suffix = "counting", ".txt"


class OfTables(Counting):
    def write(self, leaderboard, trials, folder):
        (folder / "counting.txt").write_text(f"{len(leaderboard)} {len(trials)}")


class OfReport(Counting):
    def write_report(self, report, folder):
        (folder / "counting.txt").write_text(f"{len(report.leaderboard)} {len(report.records)}")


def test_a_reporter_is_given_the_tables_or_the_whole_report(results, tmp_path):
    report = build_report(read_records(results).records)
    for reporter in (OfTables(), OfReport()):
        reporter.write_report(report, tmp_path)
        assert (tmp_path / "counting.txt").read_text() == "3 15"
    with pytest.raises(NotImplementedError, match="neither write"):
        Counting().write_report(report, tmp_path)
    (protocol,) = report.protocols
    assert report.protocols[protocol]["budget_images"] == 64_000 and report.primary == {"digits": "fid"}
    assert report.sizes["digits"][protocol].keys() == {"n", "d"} and report.metrics["fid"]["direction"] == "min"
    assert len(report.findings.neighbours) == 1 and report.findings.across.datasets == ["digits"]


def test_every_format_is_found_by_its_name():
    names = ["csv", "html", "md", "json", "latex", "parquet"]
    assert [reporter.name for reporter in load_reporters(names)] == names


def test_a_notebook_shows_the_leaderboard_with_labels_and_intervals(results):
    frame = ganbench.load_results(results)
    board = ganbench.leaderboard(frame)
    shown = board._repr_html_()
    assert "FID (digits-cnn) ↓" in shown and "64,000 training images" in shown and "floor" in shown
    assert "dcgan" in frame._repr_html_() and "trials" in frame._repr_html_()
    # What is taken out of them is a frame like any other.
    assert type(board[["variant", "fid"]]) is pd.DataFrame and type(frame[frame["final"]]) is pd.DataFrame
    assert board[["variant", "fid"]]._repr_html_() and board.drop(columns="rank")._repr_html_()


def test_a_notebook_shows_text_as_text(results):
    frame = ganbench.load_results(results)
    frame["variant"] = "<script>alert(1)</script>"
    for shown in (frame._repr_html_(), ganbench.leaderboard(frame)._repr_html_()):
        assert "<script" not in shown and "&lt;script&gt;" in shown


def test_evaluations_become_tensorboard_events(results, tmp_path, monkeypatch):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setenv(observer.FOLDER, str(tmp_path))
    record = json.loads(next(results.glob("digits/dcgan/seed-0-*/record.json")).read_text())
    spec = record["identity"]["trial"]
    for evaluation in record["evaluations"][:7]:
        observer.ganbench_evaluated(spec, evaluation)
    observer._writers.popitem()[1].close()  # the run is interrupted; the one that continues it tells everything again
    for evaluation in record["evaluations"]:
        observer.ganbench_evaluated(spec, evaluation)
    observer.ganbench_finished(record, str(next(results.glob("digits/dcgan/seed-0-*"))))
    assert not observer._writers
    (folder,) = tmp_path.glob("digits/dcgan/seed-0-*")
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    assert {"metrics/fid", "losses/generator", "gradient_norms/discriminator/median", "discriminator/d_auc"} <= set(
        events.Tags()["scalars"]
    )
    found = events.Scalars("metrics/fid")
    assert [event.step for event in found] == [each["images_seen"] for each in record["evaluations"]]
    assert found[-1].value == pytest.approx(record["values"]["fid"])


def test_without_tensorboard_the_observer_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(ImportError, match=r"pip install 'ganbench\[tensorboard\]'"):
        observer.ganbench_evaluated({"dataset": "d", "variant": "v", "seed": 0}, {"values": {}, "images_seen": 0})
