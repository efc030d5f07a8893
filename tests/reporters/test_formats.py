"""The leaderboard as LaTeX, JSON, Parquet and in a notebook, and evaluations as TensorBoard events."""

from __future__ import annotations

import importlib.util
import json
import re

import pandas as pd
import pytest

import ganbench
from ganbench.discovery.loader import discover
from ganbench.observers import tensorboard as observer
from ganbench.plugin import Reporter
from ganbench.reporters import load_reporters
from ganbench.reporters.glossary import glossary
from ganbench.reporters.html import to_html
from ganbench.reporters.latex import escape
from ganbench.reporters.leaderboard_rows import FIGURES
from ganbench.reporters.report import build_report, choose_columns, write_reports
from ganbench.reporters.sections import FIRST, LAST, cells, sections
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
    assert report.protocols[protocol]["budget_images"] == 128_000 and report.primary == {"digits": "fid"}
    assert report.sizes["digits"][protocol].keys() == {"n", "d"} and report.metrics["fid"]["direction"] == "min"
    assert len(report.findings.neighbours) == 1 and report.findings.across.datasets == ["digits"]


CHOSEN = ("verdict", "variant", "recall", "fid")


def test_columns_hold_for_every_format_in_their_order(results):
    report = write_reports(results, ["csv", "json", "parquet", "md", "latex"], columns=CHOSEN).report
    place = ["dataset", "extractor", "protocol", "variant"]
    metrics = [f"{metric}{end}" for metric in ("recall", "fid") for end in ("", "_low", "_high", "_floor", "_floor_sd")]
    expected = [*place, "verdict", *metrics]
    assert pd.read_csv(results / "leaderboard.csv").columns.tolist() == expected
    assert list(json.loads((results / "leaderboard.json").read_text())["leaderboard"][0]) == expected
    assert pd.read_parquet(results / "leaderboard.parquet").columns.tolist() == expected
    headings = "| Verdict | Variant | Recall (digits-cnn) ↑ | FID (digits-cnn) ↓ |"
    assert headings in (results / "leaderboard.md").read_text()
    latex = (results / "leaderboard.tex").read_text()
    assert r"Verdict & Variant & Recall (digits-cnn) $\uparrow$ & FID (digits-cnn) $\downarrow$ \\" in latex
    assert r"\begin{tabular}{llrr}" in latex and "& ideal sampler &" in latex
    whole = pd.read_csv(results / "trials.csv")
    assert len(whole) == 15 and {"kid", "trial", "environment_fields"} <= set(whole.columns)
    assert len(report.leaderboard.columns) > len(report.shown.columns) == len(expected)
    write_reports(results, ["csv"])
    assert len(pd.read_csv(results / "leaderboard.csv").columns) == len(report.leaderboard.columns)


def test_the_page_has_the_columns_that_were_chosen_and_all_lead_to_an_explanation(results):
    report = build_report(read_records(results).records)
    page = to_html(choose_columns(report, CHOSEN), results)
    head = page[page.index("<thead>") : page.index("</thead>")]
    assert re.findall(r'data-k="(\w+)"', head) == ["variant", "fid", "verdict", "recall"]
    rows = re.findall(r"<tr data-v.*?</tr>", page, re.DOTALL)
    assert len(rows) == 3 and {row.count("<td") for row in rows} == {3}
    foot = page[page.index("<tfoot>") : page.index("</tfoot>")]
    assert foot.count("<td") == 3
    whole = to_html(report, results)
    head = whole[whole.index("<thead>") : whole.index("</thead>")]
    asked = re.findall(r'href="#word-([\w.-]+)"', head)
    assert asked == re.findall(r'data-k="([\w.]+)"', head)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("fdi", "fid"),
        ("verdicts", "verdict"),
        ("fid_low", "fid"),
        ("Rank", "rank"),
        ("dataset", "distance_rise"),
        ("?", "rank, tier"),
    ],
)
def test_a_column_that_is_not_there_is_named_and_nothing_is_written(results, tmp_path, name, near):
    (tmp_path / "digits").symlink_to(results / "digits")
    with pytest.raises(UsageError, match=f"no column '{re.escape(name)}'; (did you mean|there are) .*{near}"):
        write_reports(tmp_path, ["csv"], columns=["fid", name])
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_a_variant_is_always_named_and_a_metric_without_a_value_has_no_column(results):
    chosen = choose_columns(build_report(read_records(results).records), ["tier"])
    headings, rows = cells(sections(chosen)[0])
    assert headings == ["Variant", "Tier"] and rows[-1] == ["ideal sampler", ""]


def test_every_metric_and_every_column_is_explained():
    catalog = discover()
    metrics = {name for name in catalog.names("metric") if catalog.offers["metric", name].distribution == "ganbench"}
    columns = {*FIRST, *LAST, *(name for name, _, _ in FIGURES)}
    assert {"fid", "mifid", "duality_gap"} <= metrics
    assert metrics | columns | {"prd.f8", "prd.f_1_8"} <= {key for words in glossary().values() for key in words}


def test_every_format_is_found_by_its_name():
    names = ["csv", "html", "md", "json", "latex", "parquet"]
    assert [reporter.name for reporter in load_reporters(names)] == names


def test_a_notebook_shows_the_leaderboard_with_labels_and_intervals(results):
    frame = ganbench.load_results(results)
    board = ganbench.leaderboard(frame)
    shown = board._repr_html_()
    assert "FID (digits-cnn) ↓" in shown and "128,000 training images" in shown and "ideal sampler" in shown
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
