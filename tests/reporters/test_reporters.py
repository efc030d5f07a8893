"""The written tables, from hand-made ones: exact, the same every time, and no text in them does anything."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ganbench.plugin.report import Report
from ganbench.reporters import load_reporters
from ganbench.reporters.csv import to_csv
from ganbench.reporters.formatting import number, seeds
from ganbench.reporters.html import to_html
from ganbench.reporters.markdown import to_markdown
from ganbench.reporters.report import build_report
from ganbench.reporters.sections import cells, sections
from ganbench.reporters.terminal import show
from ganbench.results.records import read
from ganbench.utils.errors import UsageError

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
FACTS = {"budget_images": 64000, "batch_size": 64, "precision": "fp32", "engine": "serial", "samples": 900}
FACTS |= {"split": "test", "evaluations": 20}
NAMES = {"dataset": "digits", "extractor": "digits-cnn", "protocol": "0a1b2c3d", "variant": "dcgan", "tier": "a"}
NAMES |= {"evidence": "u_rise 0.9", "note": "lost modes"}
NAMES |= {"verdict": "4 stable", "status": "diverged", "reason": "loss is nan", "label": "FID", "fact": "fp32"}


def report(**names):
    """A leaderboard and its trials: a variant with a failed seed, a baseline, and another dataset."""
    n = {**NAMES, **names}
    place = [n["dataset"], n["extractor"], n["protocol"]]
    head = ["dataset", "extractor", "protocol", "rank", "tier", "variant", "seeds", "failed", "verdict"]
    metrics = [f"{metric}{end}" for metric in ("recall", "fid") for end in ("", "_low", "_high", "_floor")]
    lines = [
        [*place, 1, n["tier"], n["variant"], 5, 1, n["verdict"], 0.5, 0.4, 0.6, 0.9, 2.0, 1.5, 2.25, 0.1],
        [*place, None, "", "noise", 2, 0, "", np.nan, np.nan, np.nan, 0.9, 80.0, 79.0, 81.0, 0.1],
        ["ring8", "identity", "ffff0000", 1, "?", "vanilla", 1, 0, "1 stable", 0.25, 0.25, 0.25, np.nan, *[np.nan] * 4],
    ]
    board = pd.DataFrame(lines, columns=[*head, *metrics]).astype({"rank": "Int64"})
    columns = ["dataset", "extractor", "protocol", "variant", "seed", "status", "reason", "verdict", "note"]
    lines = [
        [*place, n["variant"], 0, n["status"], n["reason"], n["status"], "", np.nan, np.nan, "00000000"],
        *([*place, n["variant"], s, "completed", "", "stable", "", 0.5, 2.0, f"0000000{s}"] for s in (1, 2, 3, 4)),
        *([*place, "noise", s, "completed", "", "", "", np.nan, 80.0, f"1000000{s}"] for s in (0, 1)),
        ["ring8", "identity", "ffff0000", "vanilla", 7, "completed", "", "stable", "", 0.25, np.nan, "20000000"],
    ]
    trials = pd.DataFrame(lines, columns=[*columns, "recall", "fid", "trial"])
    trials["evidence"], trials["verdict_step"], trials["verdict_images"] = n["evidence"], 500, 32_000
    trials.loc[2, ["verdict", "note"]] = ["collapsed", n["note"]]
    return Report(
        board,
        trials,
        metrics={
            "fid": {"label": n["label"], "direction": "min"},
            "recall": {"label": "Recall", "direction": "max"},
        },
        protocols={n["protocol"]: {**FACTS, "precision": n["fact"]}},
        primary={n["dataset"]: "fid"},
        centres={"ring8": [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]},
    )


def results(folder):
    """What those trials left: pictures of dcgan, points of vanilla."""
    pictures = folder / "digits" / "dcgan" / "seed-1-00000001" / "samples"
    points = folder / "ring8" / "vanilla" / "seed-7-20000000" / "samples"
    pictures.mkdir(parents=True)
    points.mkdir(parents=True)
    (pictures / "0.png").write_bytes(b"untrained")
    (pictures / "9000.png").write_bytes(b"earlier")
    (pictures / "64000.png").write_bytes(PNG)
    (pictures / "overview.png").write_bytes(b"not one of the samples")
    (pictures.parent / "cost.json").write_text(json.dumps({"wall_seconds": 14.7}))
    (points / "points.csv").write_text("images_seen,x,y\n0,9,9\n800,1.0,0.0\n800,0.0,-1.0\n800,50.0,0.0\n800,nan,0\n")
    return folder


class Page(HTMLParser):
    """Tags with the names of their attributes, in order; the attributes' values; and the text after each tag."""

    def __init__(self, text):
        super().__init__()
        self.structure, self.attributes, self.texts, self.tags = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.structure.append((tag, *(name for name, _ in attrs)))
        self.tags.append((tag, attrs))
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        self.structure.append((f"/{tag}",))

    def handle_data(self, data):
        self.texts.append((self.structure[-1][0] if self.structure else "", data))

    def handle_comment(self, data):
        self.structure.append(("comment",))

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(text for tag, text in self.texts if tag != "style"))

    def values(self, tag, name):
        return [value for t, n, value in self.attributes if (t, n) == (tag, name)]

    @property
    def plotted(self):
        """The path of every scatter plot."""
        return [
            dict(attrs).get("d") for tag, attrs in self.tags if tag == "path" and dict(attrs).get("class") == "points"
        ]


def test_csv_is_a_pure_function_of_the_table():
    board = report().leaderboard
    for table in (board, report().trials):
        assert to_csv(table) == to_csv(table.copy(deep=True))
    assert "\r" not in to_csv(board)
    assert to_csv(board) != to_csv(board.assign(fid=board["fid"] + 1e-15))


def test_csv_keeps_every_bit_of_a_float_and_leaves_the_missing_empty():
    scores = [0.1 + 0.2, 1 / 3, -2.5e-17, 1e300, 5e-324, 123456789.123456789, float("nan")]
    table = pd.DataFrame({"fid": scores, "rank": pd.array([1, None, 3, 4, 5, 6, 7], dtype="Int64")})
    text = to_csv(table)
    fields = [line.split(",") for line in text.splitlines()[1:]]
    assert [float(score) for score, _ in fields[:-1]] == scores[:-1]
    assert fields[1][1] == fields[-1][0] == ""


@pytest.mark.parametrize("mark", ["=", "+", "-", "@", "\t", "\n", "\r", "\0", "＝", "＋", "－", "＠"])
def test_csv_text_never_begins_as_a_formula(mark):
    text = to_csv(pd.DataFrame({"reason": [f"{mark}1+1", f"a{mark}b", "plain"], "fid": [-1.5, 2.0, 0.0]}))
    read = pd.read_csv(io.StringIO(text))
    assert len(read) == 3
    assert read["reason"][0][0] in "'\N{REPLACEMENT CHARACTER}"
    assert read["reason"][2] == "plain"
    assert read["fid"].tolist() == [-1.5, 2.0, 0.0]
    # Not even for a reader that takes other line ends, or that knows no quotes.
    assert "\r" not in text and "\0" not in text


def test_csv_reporter_writes_two_files(tmp_path):
    (reporter,) = load_reporters(["csv"])
    reporter.write_report(report(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["leaderboard.csv", "trials.csv"]
    assert (tmp_path / "leaderboard.csv").read_bytes() == to_csv(report().leaderboard).encode()


def test_unknown_format_names_the_nearest():
    with pytest.raises(UsageError, match="'htlm'; did you mean html"):
        load_reporters(["htlm"])
    assert [reporter.name for reporter in load_reporters(["md", "csv"])] == ["md", "csv"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (float("nan"), ""),
        (5.0, "5"),
        (4.9996, "5.00"),
        (0.26, "0.260"),
        (0.000264, "0.000264"),
        (-0.00841, "-0.00841"),
        (99.96, "100"),
        (999.6, "1000"),
        (12345.6, "12346"),
        (3.2e7, "3.20e+07"),
        (float("inf"), "inf"),
    ],
)
def test_number(value, text):
    assert number(value) == text


def test_seeds_are_runs():
    assert seeds([4, 0, 1, 2, 7, 1]) == "0–2, 4, 7"


def test_cells_put_the_primary_metric_first_and_the_floor_last():
    first, second = sections(report())
    headings, rows = cells(first)
    assert headings[:7] == ["Rank", "Tier", "Variant", "FID (digits-cnn) ↓", "Verdict", "Seeds", "Failed"]
    assert headings[7:] == ["Recall (digits-cnn) ↑"]
    assert rows == [
        ["1", "a", "dcgan", "2 [1.50, 2.25]", "4 stable", "5", "1", "0.500 [0.400, 0.600]"],
        ["", "", "noise", "80 [79, 81]", "", "2", "0", ""],
        ["", "", "ideal sampler", "0.100", "", "", "", "0.900"],
    ]
    # A metric without a value in a section has no column there, and one seed has no interval.
    headings, rows = cells(second)
    assert headings[3:] == ["Recall (identity) ↑", "Verdict", "Seeds", "Failed"]
    assert rows[0][3] == "0.250"


def test_columns_stand_in_the_order_of_their_own_records_whatever_other_datasets_have():
    folder = Path(__file__).parents[2] / "results" / "reference"
    records = [read(min(folder.glob(f"{dataset}/r1/seed-*/record.json"))) for dataset in ("digits", "ring8")]
    for section, record in zip(sections(build_report(records)), records, strict=True):
        first, *rest = sorted(record.metrics, key=lambda name: record.metrics[name].position)
        if section.dataset == "ring8":  # coverage is read beside recovered mass
            rest = ["coverage", *(name for name in rest if name != "coverage")]
        assert section.metrics == [section.report.primary[section.dataset], *rest] and section.metrics[0] == first


def test_the_primary_metric_has_its_column_and_floor_where_every_trial_failed():
    whole = report()
    board = whole.leaderboard[whole.leaderboard["variant"] == "dcgan"].reset_index(drop=True)
    board[["fid", "fid_low", "fid_high"]] = np.nan
    headings, rows = cells(sections(replace(whole, leaderboard=board))[0])
    assert headings[3] == "FID (digits-cnn) ↓" and [row[3] for row in rows] == ["", "0.100"]


def test_too_few_samples_for_the_features_are_warned_of_in_every_format(capsys, tmp_path):
    whole = report()
    whole.metrics["fid"]["rows_per_feature"] = 2

    def sized(n: int, d: int) -> Report:
        return replace(whole, sizes={"digits": {"0a1b2c3d": {"n": n, "d": d}}, "ring8": {"ffff0000": {"n": 5, "d": 2}}})

    def told(n: int, d: int) -> list[bool]:
        show(sized(n, d))
        texts = [capsys.readouterr().out, to_markdown(sized(n, d)), to_html(sized(n, d), tmp_path)]
        return [f"n = {n} is below 2 d = {2 * d}: FID is mostly bias" in text for text in texts]

    assert told(900, 451) == [True] * 3 and told(900, 450) == [False] * 3
    assert sections(sized(900, 451))[1].warnings == []  # it has no FID
    assert [section.warnings for section in sections(whole)] == [[], []]  # records of earlier versions know no sizes


def test_tables_do_without_what_is_said_about_them():
    bare = Report(report().leaderboard, report().trials)
    assert cells(sections(bare)[0])[0][3] == "recall (digits-cnn)"
    assert "Protocol 0a1b2c3d" in to_markdown(bare)


def split_row(line):
    """The cells of a table row, as GitHub splits it: a backslash takes the next character out of its role."""
    return [cell.strip() for cell in re.findall(r"\|((?:\\.|[^|\\])*)(?=\|)", line)]


def test_markdown_has_one_line_a_row_and_as_many_cells_as_headings():
    text = to_markdown(report())
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 5 + 4
    assert {len(split_row(line)) for line in lines[:5]} == {8}
    assert "64,000 training images in batches of 64, fp32" in text
    assert "900 samples scored by digits-cnn against the test split at each of 20 evaluations" in text


@pytest.mark.parametrize("place", [name for name in NAMES if name not in ("status", "reason")])
@pytest.mark.parametrize(
    "bad", ["a|b", "a\\|b", "a\nb", "a\r\n\r\n# b", "<img src=x onerror=alert(1)>", "&lt;b&gt;", "[a](http://b)", "`a"]
)
def test_markdown_escapes(place, bad):
    plain, text = to_markdown(report()), to_markdown(report(**{place: bad}))
    assert len(text.splitlines()) == len(plain.splitlines())
    for harmless, line in zip(plain.splitlines(), text.splitlines(), strict=True):
        assert len(split_row(line)) == len(split_row(harmless))
        assert line[:2] == harmless[:2] or line[0].isalpha() or place == "protocol"
    assert "<" not in text and "](" not in text
    assert not re.search(r"(?<!\\)`", text)
    assert not re.search(r"&(?!(amp|lt|gt);)", text)


def test_page_says_what_the_tables_say(tmp_path):
    page = Page(to_html(report(), results(tmp_path)))
    assert "2 [1.50, 2.25]" in page.text
    assert "FID (digits-cnn) ↓" in page.text
    assert "64,000 training images" in page.text
    assert "Seeds: 0–4" in page.text
    assert "dcgan, seed 0: diverged: loss is nan" in page.text
    table = page.text[page.text.index("Rank ? Tier ? Variant ?") :]
    assert table.index("dcgan") < table.index("noise") < table.index("ideal sampler")
    scores, words = page.text.rsplit(" Words ", 1)
    assert "FIDDistance between two Gaussians" in words
    bare = re.findall(r"\b(?:FID|Recall)\b(?! \()", scores)
    assert not bare, "a score without its extractor"


def test_page_embeds_the_last_picture_of_the_median_seed(tmp_path):
    page = Page(to_html(report(), results(tmp_path)))
    assert page.values("img", "src") == [f"data:image/png;base64,{base64.b64encode(PNG).decode()}"]
    assert page.values("img", "alt") == ["Samples of dcgan on digits"]
    # Of the four that completed all have the same score: the first of them.
    assert "dcgan, seed 1, after 64,000 images, 15\N{NO-BREAK SPACE}s" in "".join(text for _, text in page.texts)
    other_scores = report()
    # The lower of the two in the middle is seed 3's, which has no picture.
    other_scores.trials.loc[1:4, "fid"] = [9.0, 1.0, 2.5, 7.0]
    other = tmp_path / "digits" / "dcgan" / "seed-4-00000004" / "samples"
    other.mkdir(parents=True)
    (other / "1.png").write_bytes(PNG)
    assert "dcgan, seed 4, after 1 images" in Page(to_html(other_scores, tmp_path)).text


def test_page_plots_points_over_the_true_modes(tmp_path):
    page = Page(to_html(report(), results(tmp_path)))
    # The plot is 400 wide and spans -1.5 to 1.5; y points up.
    assert page.plotted == ["M333.3 200.0h0M200.0 333.3h0"]
    assert list(zip(page.values("circle", "cx"), page.values("circle", "cy"), strict=True)) == [
        ("333.3", "200.0"),
        ("66.7", "200.0"),
        ("200.0", "66.7"),
        ("200.0", "333.3"),
    ]
    assert "after 800 images; 3 points, 1 of them outside the plot" in page.text


def test_points_without_known_modes_are_all_in_the_plot(tmp_path):
    page = Page(to_html(replace(report(), centres={}), results(tmp_path)))
    assert page.plotted[0].count("M") == 3
    assert not page.values("circle", "r")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"wall_seconds": "1"}', '{"wall_seconds": null}', "[" * 9999]
)
def test_broken_costs_do_not_matter(tmp_path, content):
    path = results(tmp_path) / "digits" / "dcgan" / "seed-1-00000001" / "cost.json"
    path.write_text(content)
    text = Page(to_html(report(), tmp_path)).text
    assert "dcgan, seed 1, after 64,000 images " in text


@pytest.mark.parametrize("content", [b"", b"x\n1\n", b"images_seen,x,y\n", b"images_seen,x,y\n1,a,b\n", b"\xff\0\n,\n"])
def test_broken_points_leave_no_figure(tmp_path, content):
    (results(tmp_path) / "ring8" / "vanilla" / "seed-7-20000000" / "samples" / "points.csv").write_bytes(content)
    structure = Page(to_html(report(), tmp_path)).structure
    assert sum(tag[0] == "figure" for tag in structure) == 1


def test_page_of_an_empty_folder_has_no_figures(tmp_path):
    assert "figure" not in {tag[0] for tag in Page(to_html(report(), tmp_path)).structure}


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "</td></tr></table></style></title><h1>",
    "<!-- ",
    "{{ 7 * 7 }}{% for x in y %}",
    "]]>&#60;b&#62;&lt;i&gt;",
    "javascript:alert(1)",
]


@pytest.mark.parametrize("place", NAMES)
def test_text_from_data_is_only_ever_text(tmp_path, place):
    results(tmp_path)
    harmless = Page(to_html(report(**{place: "harmless"}), tmp_path))
    for bad in HOSTILE:
        page = Page(to_html(report(**{place: bad}), tmp_path))
        assert page.structure == harmless.structure, bad
        assert re.sub(r"\s+", " ", bad) in page.text
        assert len(page.values("meta", "content")) == 2


def test_page_needs_nothing_and_permits_nothing(tmp_path):
    text = to_html(report(), results(tmp_path))
    page = Page(text)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = page.values("meta", "content")[0].split("; ")
    assert policy[:3] == ["default-src 'none'", "img-src data:", f"style-src 'sha256-{digest}'"]
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy[3:] == [f"script-src 'sha256-{digest}'", "base-uri 'none'", "form-action 'none'"]
    assert page.values("meta", "http-equiv") == ["Content-Security-Policy"]
    tags = {tag[0] for tag in page.structure}
    assert not tags & {"link", "iframe", "object", "embed", "base", "form"}
    assert [attrs for tag, attrs in page.tags if tag == "script"] == [
        [("type", "application/json"), ("id", "trials")],
        [],
    ]
    assert all(re.fullmatch(r"(#|trials/)[\w.-]+(\.html)?|trials\.csv", link) for link in page.values("a", "href"))
    assert not [name for _, name, _ in page.attributes if name == "style" or name.startswith("on")]
    assert all(value.startswith("data:image/png;base64,") for _, name, value in page.attributes if name == "src")
    assert not re.search(r"https?:|//|@import|url\(", style)
    assert "http" not in re.sub("http-equiv", "", text)
    assert not re.search(r"fetch|XMLHttp|import|eval|innerHTML|outerHTML|insertAdjacentHTML|document\.write", script)


def test_page_stays_small(tmp_path):
    page = to_html(report(), results(tmp_path))
    words = re.findall(r"<dl>.*?</dl>", page, re.DOTALL)
    assert len(words) == 1 and len(words[0]) < 7_000  # the words that its headings explain
    assert len(page) - len(words[0]) < 40_000
