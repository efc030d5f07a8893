"""Text that a stranger wrote into a sealed record: in every table, on the page and on the terminal it is only text."""

from __future__ import annotations

import copy
import csv
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ganbench.cli.compare import command as compare
from ganbench.cli.merge import command as merge
from ganbench.reporters import DEFAULT
from ganbench.reporters.csv import to_csv
from ganbench.reporters.glossary import glossary
from ganbench.reporters.report import write_reports
from ganbench.reporters.terminal import show, summarise

# fmt: off
SCRIPTS = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)",
           "</style><svg/onload=x>"]
SCRIPTS += ["javascript:alert(1)", "{{7*7}}{%raw%}", "]]>", "-->", "&#60;b&#62;", "\u2028</title>", "\u202egnp.exe"]
FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "a;=1", "a\t=1",
            "a; =1", "\0=1", "＝1", " =1"]
MARKUP = ["a|b", "a\nb", "**a**", "`a`", "[a](javascript:alert(1))",
          "![a](http://x/y.png)", "<a href=x>", "~~a~~", "# a"]
ESCAPES = ["\x1b[2J", "\x1b]0;owned\x07", "\x1b]8;;http://x\x1b\\a", "\x1b]52;c;eA==\x07",
           "\r\x1b[1A", "\x9b2J", "\x07", "[red]x[/]"]
# fmt: on
REFERENCE = Path(__file__).parents[2] / "results/reference/trials.csv"
EVERY = SCRIPTS + FORMULAS + MARKUP + ESCAPES


def with_text(genuine: dict[str, Any], text: str, seed: int) -> dict[str, Any]:
    """A failed trial with that text wherever a record may hold one."""
    record = copy.deepcopy(genuine)
    trial, evaluation = record["identity"]["trial"], record["identity"]["evaluation"]
    trial["seed"] = seed
    trial |= dict.fromkeys(("distribution", "source", "dataset_hash", "precision", "engine", "device"), text)
    trial["hyperparameters"] = {text: text}
    evaluation |= {"extractor_hash": text, "split": text}
    record |= {"label": text, "reason": text, "status": "error", "environment": {"packages": {text: text}, text: text}}
    record["metrics"]["fid"]["label"] = text
    record["telemetry"]["first_nonfinite"] = {"what": text, "step": 1}
    return record


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [
            str(value) for name, value in attrs if name in ("href", "src") and not str(value).startswith("data:")
        ]

    def handle_comment(self, data: str) -> None:
        self.tags.add("comment")


def everything(folder: Path) -> None:
    found, report = write_reports(folder, DEFAULT)
    assert not found.problems
    show(report)
    summarise(found, folder)


def test_every_text_in_every_field(
    genuine: dict[str, Any], resealed: Callable[..., bytes], harmless: Any, put: Any, inside: Path, capfd: Any
) -> None:
    put(resealed(genuine))
    results = inside / "results"
    write_reports(results, DEFAULT)
    clean = Tags((results / "leaderboard.html").read_text())
    for i, text in enumerate(EVERY, start=1):
        folder = put(resealed(with_text(genuine, text, i)))
        capfd.readouterr()
        printed: list[str] = []
        harmless(lambda kept=printed: (everything(results), kept.extend(capfd.readouterr())))
        assert all(c.isprintable() or c == "\n" for c in "".join(printed)), text
        page = (results / "leaderboard.html").read_text()
        seen = Tags(page)
        # A failed trial is listed, and its row has a badge with the reason.
        assert seen.tags <= clean.tags | {"h3", "ul", "li", "strong", "a", "nav"}, text
        assert seen.attributes <= clean.attributes | {"href", "title"}, text
        assert all(re.fullmatch(r"#[\w.-]+|trials/[0-9a-f]{8}\.html|trials\.csv", link) for link in seen.links), text
        assert "default-src 'none'" in page
        for own in (results / "trials").glob("*.html"):
            alone = Tags(own.read_text())
            assert alone.tags <= clean.tags | {"ul", "li", "strong", "pre", "a", "span"}, text
            assert not any(name.startswith("on") or name == "style" for name in alone.attributes), text
            words = {f"#word-{key}" for part in glossary().values() for key in part}
            assert set(alone.links) - words == {"../leaderboard.html"}, text
        for name in ("leaderboard.csv", "trials.csv"):
            written = (results / name).read_text()
            quoted = written.replace('""', "'")  # inside a cell: hyperparameters are JSON
            assert not re.search(r"(^|[,;\t\n\"]) *[=@＝]", quoted), text
            assert "\0" not in written and "\r" not in written
            cells = pd.read_csv(results / name, dtype=str, keep_default_na=False).to_numpy().ravel()
            assert not [cell for cell in cells if cell[:1] in set("=+@\t\r\n＝") or re.match("-[^0-9]", cell)], text
        columns = 0
        for line in (results / "leaderboard.md").read_text().split("\n"):
            assert not re.search(r"(?<!\\)[`*~]|<|!\[[^\]]*\]\(|\]\(", line), text
            bars = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
            assert bars == 0 or bars == (columns or bars) >= 7, text  # as many as in the heading of its table
            columns = bars
        (folder / "record.json").unlink()


def test_headings_of_csv_are_neutralised_too() -> None:
    assert to_csv(pd.DataFrame({"=1": [1.0], "fid": [-1.5]})) == "'=1,fid\n1.0,-1.5\n"
    read = pd.read_csv(io.StringIO(to_csv(pd.DataFrame({"reason": ["a;=1", "a; -x", "plain; text", "x=1"]}))))
    assert read["reason"].tolist() == ["a;'=1", "a;' -x", "plain; text", "x=1"]


@pytest.mark.parametrize("text", ESCAPES)
@pytest.mark.parametrize(
    "arguments",
    [["report", "--results"], ["compare", "."], ["rescore", "-m", "fid"], ["run", "-p", "x", "--config"],
     ["report", "--results", ".", "--format"], ["run", "-p", "dcgan", "--seeds"], ["run", "-p", "dcgan", "--set"]],
    ids=lambda arguments: " ".join(arguments),
)  # fmt: skip
def test_what_was_asked_for_is_repeated_without_its_escapes(
    arguments: list[str], text: str, inside: Path, harmless: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    """Names of files come from strangers, and reach a command through a shell's pattern."""
    import sys

    from ganbench.cli import main

    monkeypatch.setattr(sys, "argv", ["ganbench", *arguments, f"{text}x"])
    told: list[str] = []

    def run() -> None:
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        told.extend(capfd.readouterr())

    harmless(run)
    assert all(c.isprintable() or c == "\n" for c in "".join(told))


@pytest.mark.parametrize("command", [["report"], ["compare", "results", "results"]], ids=lambda command: command[0])
def test_commands_that_read_results_import_neither_torch_nor_a_plugin(
    command: list[str], genuine: dict[str, Any], resealed: Callable[..., bytes], put: Any, inside: Path
) -> None:
    import subprocess
    import sys

    put(resealed(genuine))
    code = (
        "import sys\nfrom ganbench.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "heavy = [m for m in sys.modules if m.split('.')[0] in ('torch', 'ganbench_plugins', 'safetensors')]\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True)


@pytest.mark.parametrize("text", EVERY)
def test_text_in_every_cell_that_may_hold_one(text: str, told: Any, inside: Path) -> None:
    with REFERENCE.open(newline="") as file:
        header, *rows = csv.reader(file)
    rows = [row for row in rows if row[header.index("variant")] == "dcgan"][:5]
    for row in rows:
        for name in ("dataset", "extractor", "protocol", "variant", "reason", "note", "verdict", "evidence", "source"):
            row[header.index(name)] += text
    with (inside / "trials.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    code, printed = told(compare, "trials.csv", "trials.csv")
    assert code in (0, 2), printed[:500]


@pytest.mark.parametrize("text", EVERY)
def test_text_in_two_records_that_differ(
    text: str, genuine: Any, resealed: Any, told: Any, put: Any, inside: Path
) -> None:
    put(resealed({**genuine, "label": text, "status": "error", "reason": text}))
    (inside / "results").rename(inside / "other")
    put(resealed({**genuine, "label": text * 100, "environment": {text: text}}))
    code, printed = told(merge, "results", "other", "--into", "target")
    assert code == 3 and "hold different records of one trial" in printed and len(printed) < 5_000
