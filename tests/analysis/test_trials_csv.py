"""``trials.csv`` read back, the reference results that are installed, and ``ganbench compare`` over all three kinds."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ganbench.analysis.frames import COMPARABLE, load_results
from ganbench.analysis.ranking import trials_table
from ganbench.analysis.trials_csv import read_trials, reference_table
from ganbench.reporters.csv import to_csv
from ganbench.reporters.report import write_reports
from ganbench.utils.errors import UsageError
from ganbench.utils.names import check_metric

REFERENCE = Path(__file__).parents[2] / "results/reference"


def test_no_metric_has_the_name_of_another_column() -> None:
    headers = [pd.read_csv(REFERENCE / file, nrows=0).columns for file in ("trials.csv", "leaderboard.csv")]
    metrics = {name for name in headers[1] if f"{name}_floor_sd" in headers[1]}
    for name in {*headers[0], *headers[1]} - metrics:
        with pytest.raises(ValueError, match="the tables have one of that name"):
            check_metric(name)
    assert len(metrics) == 13 and all(check_metric(name) == name for name in metrics)
    with pytest.raises(ValueError, match="a dot separates"):
        check_metric("a.b")


Change = Callable[[list[dict[str, str]]], None]


@pytest.fixture
def rewritten(fifteen: Path) -> Callable[[Path, Change], Path]:
    """The table of fifteen trials with some cells changed."""

    def write(path: Path, change: Change) -> Path:
        with (fifteen / "trials.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        change(rows)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write


def test_the_installed_reference_is_the_table_of_the_repository() -> None:
    assert reference_table().read_bytes() == (REFERENCE / "trials.csv").read_bytes()


def test_the_reference_table_is_what_its_records_say() -> None:
    assert to_csv(trials_table(load_results(REFERENCE))) == (REFERENCE / "trials.csv").read_text()


def test_a_table_reads_back_to_the_same_table() -> None:
    again = trials_table(read_trials(REFERENCE / "trials.csv"))
    assert to_csv(again) == (REFERENCE / "trials.csv").read_text()


def test_failures_floors_and_names_that_were_told_apart(rewritten, tmp_path: Path) -> None:
    changed = []

    def change(rows: list[dict[str, str]]) -> None:
        changed.append(rows[0]["trial"])
        rows[0] |= {"status": "crashed", "reason": "'=x", "fid": "", "variant": "dcgan@1a2b3c4d"}
        rows[1] |= {"variant": "dcgan[note=a@b]@1a2b3c4d@5e6f7a8b", "failure_score": ""}

    frame = read_trials(rewritten(tmp_path / "trials.csv", change))
    first = frame[(frame.trial == changed[0]) & (frame.metric == "fid")].iloc[0]
    assert (first.variant, first.status, first.images_seen) == ("dcgan", "crashed", 0)
    assert pd.isna(first.value) and first.failure_score > 25
    assert set(frame.variant) == {"dcgan", "dcgan[note=a@b]", "noise", "vanilla"}


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text + b"\n",
        lambda text: text + b"\r\n" * 3,
        lambda text: text.removesuffix(b"\n"),
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n") + b"\r\n",
        lambda text: text.replace(b"\n", b"\n\n"),
        lambda text: text + b"," * text.partition(b"\n")[0].count(b",") + b"\n",  # a row of empty cells
    ],
    ids=["BOM", "empty last line", "empty last lines", "no newline", "CRLF", "all", "empty lines", "empty row"],
)
def test_what_editors_add_to_a_table_changes_nothing(edit: Callable[[bytes], bytes], tmp_path: Path) -> None:
    whole = (REFERENCE / "trials.csv").read_bytes()
    edited = edit(whole)
    assert edited != whole
    (tmp_path / "trials.csv").write_bytes(edited)
    assert to_csv(trials_table(read_trials(tmp_path / "trials.csv"))) == whole.decode()


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_another_separator_is_refused_by_its_name(separator: str, mark: str, tmp_path: Path) -> None:
    with (REFERENCE / "trials.csv").open(newline="") as file, (tmp_path / "t.csv").open("w", newline="") as other:
        other.write(mark)
        csv.writer(other, delimiter=separator).writerows(csv.reader(file))
    name = {";": "semicolons", "\t": "tabs"}[separator]
    with pytest.raises(UsageError, match=f"t.csv has {name} between its columns.*ganbench report"):
        read_trials(tmp_path / "t.csv")


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding_is_refused_by_what_to_do(encoding: str, tmp_path: Path) -> None:
    text = (REFERENCE / "trials.csv").read_text().replace("dcgan", "dcgän")
    (tmp_path / "t.csv").write_text(text, encoding=encoding)
    with pytest.raises(UsageError, match=r"no CSV file in UTF-8.*ganbench report"):
        read_trials(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "has no column dataset, extractor"),
        (b"a,b\n1,2\n", "has no column dataset, extractor"),
        (b"a,a\n1,2\n", "two columns a"),
        (b"a,b\n1\n", "has no column"),
        (b"\xff\xfe\x00", "no CSV file"),
        (b'a,b\n"1,2\n', "has no column"),
    ],
)
def test_a_file_that_is_none_of_ours(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "trials.csv").write_bytes(text)
    with pytest.raises(UsageError, match=message):
        read_trials(tmp_path / "trials.csv")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("fid", "fast", r"line 3, column fid: 'fast' where a number should be"),
        ("fid", "nan", "column fid"),
        ("fid", "1e999", "column fid"),
        ("seed", "1.5", "column seed: '1.5' where a whole number should be"),
        ("protocol_samples", "", "column protocol_samples"),
        ("status", "perfect", "column status: 'perfect' where one of completed, diverged"),
        ("role", "", "column role"),
        ("direction", "up", "column direction"),
        ("trial", "", "column trial"),
    ],
)
def test_a_cell_that_is_no_number_is_named(rewritten, tmp_path: Path, column: str, value: str, message: str) -> None:
    path = rewritten(tmp_path / "trials.csv", lambda rows: rows[1].update({column: value}))
    with pytest.raises(UsageError, match=message):
        read_trials(path)


def test_a_short_row_and_a_table_of_an_earlier_version(tmp_path: Path) -> None:
    lines = (REFERENCE / "trials.csv").read_text().splitlines()
    (tmp_path / "short.csv").write_text("\n".join([*lines[:2], lines[2].rpartition(",")[0]]) + "\n")
    with pytest.raises(UsageError, match=f"line 3: {len(lines[0].split(',')) - 1} cells under"):
        read_trials(tmp_path / "short.csv")
    table = pd.read_csv(REFERENCE / "trials.csv").drop(columns=list(COMPARABLE))
    table.to_csv(tmp_path / "old.csv", index=False)
    with pytest.raises(UsageError, match="report --results FOLDER writes one"):
        read_trials(tmp_path / "old.csv")


def test_compare_takes_a_folder_a_table_and_the_reference(ganbench, rewritten, fifteen: Path, tmp_path: Path) -> None:
    shutil.copytree(fifteen, tmp_path / "folder", ignore=shutil.ignore_patterns("samples"))
    for before, after in (("reference", "folder"), ("folder/trials.csv", "reference"), ("folder", "folder")):
        table = ganbench("compare", before, after)
        assert table.returncode == 0, table.stderr
        assert table.stdout.count("no evidence") == 2
    assert ganbench("compare", "reference", "folder", "--fail-on-regression").returncode == 0

    worse = rewritten(
        tmp_path / "worse.csv",
        lambda rows: [row.update(fid=str(9 * float(row["fid"]))) for row in rows if row["variant"] == "dcgan"],
    )
    assert ganbench("compare", "folder", str(worse)).returncode == 0
    failed = ganbench("compare", "folder", str(worse), "--fail-on-regression")
    assert failed.returncode == 1 and "worse" in failed.stdout
    assert ganbench("compare", str(worse), "folder", "--fail-on-regression").returncode == 0

    def few(rows: list[dict[str, str]]) -> None:
        rows[:] = [row for row in rows if row["seed"] in ("0", "1", "2")]

    rewritten(tmp_path / "few.csv", few)
    assert ganbench("compare", "folder", "few.csv").returncode == 0
    blind = ganbench("compare", "folder", "few.csv", "--fail-on-regression")
    assert blind.returncode == 2
    assert re.search(r"dcgan on digits: 5 seeds before, 3 after; it takes 5 a side", blind.stderr)


def test_compare_refuses_other_protocols_and_says_what_is_in_one_only(
    ganbench, rewritten, fifteen: Path, tmp_path: Path
) -> None:
    rewritten(tmp_path / "other.csv", lambda rows: [row.update(protocol_samples="100") for row in rows])
    refused = ganbench("compare", str(fifteen), "other.csv")
    assert refused.returncode == 3 and refused.stderr.count("samples differs: 900 before, 100 after") == 1
    assert "train the earlier trials again" not in refused.stderr
    rewritten(tmp_path / "newer.csv", lambda rows: [row.update(protocol_metrics_version="99") for row in rows])
    newer = ganbench("compare", str(fifteen), "newer.csv")
    assert newer.returncode == 3 and "metrics_version differs" in newer.stderr
    assert newer.stderr.splitlines()[-1].endswith(
        "train the earlier trials again with ganbench run, or compare results of one version"
    )
    rewritten(tmp_path / "renamed.csv", lambda rows: [row.update(variant=f"my-{row['variant']}") for row in rows])
    nothing = ganbench("compare", str(fifteen), "renamed.csv")
    assert nothing.returncode == 2 and "nothing to compare" in nothing.stderr
    assert "dcgan on digits: only before" in nothing.stderr and "my-vanilla on digits: only after" in nothing.stderr
    missing = ganbench("compare", str(fifteen), "nowhere.csv")
    assert missing.returncode == 2 and "no results folder, trials.csv or leaderboard.html nowhere.csv" in missing.stderr


def test_a_variant_that_is_gone_is_no_proof_of_no_regression(ganbench, rewritten, tmp_path: Path) -> None:
    def without(rows: list[dict[str, str]]) -> None:
        rows[:] = [row for row in rows if row["variant"] != "dcgan"]

    rewritten(tmp_path / "before.csv", lambda rows: None)
    rewritten(tmp_path / "after.csv", without)
    gone = ganbench("compare", "before.csv", "after.csv", "--fail-on-regression")
    assert gone.returncode == 2 and "dcgan on digits: only before: nothing shows that it is no worse" in gone.stderr
    assert ganbench("compare", "before.csv", "after.csv").returncode == 0
    assert ganbench("compare", "after.csv", "before.csv", "--fail-on-regression").returncode == 0


def test_what_only_one_side_has_is_counted_where_it_is_much(ganbench, rewritten, fifteen, tmp_path: Path) -> None:
    def more(rows: list[dict[str, str]]) -> None:
        rows += [{**row, "variant": f"dcgan{i}", "trial": f"{i:08x}"} for row in rows[:1] for i in range(20)]

    rewritten(tmp_path / "many.csv", more)
    told = ganbench("compare", "many.csv", str(fifteen), "--html", "page.html").stderr
    assert told.count("only before") == 6 and "15 more: only before" in told
    page = (tmp_path / "page.html").read_text()
    folded = page[page.index('<details class="block">\n<summary><h3>20 only before</h3></summary>') :]
    assert folded[: folded.index("</details>")].count(": only before</li>") == 20


def test_a_page_holds_the_same_table(fifteen, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(fifteen, folder, ignore=shutil.ignore_patterns("samples"))
    write_reports(folder, ["csv", "html"])
    pd.testing.assert_frame_equal(read_trials(folder / "leaderboard.html"), read_trials(folder / "trials.csv"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no table of trials"),
        ("[]", "holds no table of trials"),
        ("{", "not valid JSON"),
        ('{"a":NaN}', "not valid JSON"),
        ('{"a":[1],"b":[1,2]}', "differ in length"),
        ('{"a":{"texts":["x"],"index":[1]}}', "a column 'a' that is none"),
        ('{"a":{"texts":["x"],"index":[-1]}}', "a column 'a' that is none"),
        ('{"a":[true]}', "a column 'a' that is none"),
        ('{"a":["x"]}', "has no column dataset"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_a_page_from_a_stranger_is_read_with_care(tmp_path, text, message):
    path = tmp_path / "page.html"
    path.write_text(f'<script type="application/json" id="trials">{text}</script>' if text else "<p>")
    with pytest.raises(UsageError, match=message):
        read_trials(path)
