"""A table of trials that a stranger sent: ``ganbench compare`` reads it as data, or refuses it in one line."""

from __future__ import annotations

import copy
import csv
import io
from pathlib import Path
from typing import Any

import pytest

from ganbench.cli.compare import command as compare

REFERENCE = Path(__file__).parents[2] / "results/reference/trials.csv"
with REFERENCE.open(newline="") as file:
    HEADER, *ROWS = csv.reader(file)
ROWS = [row for row in ROWS if row[HEADER.index("dataset")] == "digits" and row[HEADER.index("variant")] == "dcgan"][:5]
# Texts that are wrong for most columns, and numbers that a float or an int of Python takes and a table has not.
CELLS = ["", "nan", "1e999", "9" * 5000, "-1", "1e308", "../../outside/x", "=cmd|' /C calc'!A0", "\x1b[2J<script>"]
CELLS += ["a" * 20_000, '\0\n"', "\u202egnp"]


def table(header: list[str], rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue().encode()


def with_cell(column: str, value: str) -> bytes:
    """Three trials of the reference, one cell changed."""
    rows = copy.deepcopy(ROWS[:3])
    rows[1][HEADER.index(column)] = value
    return table(HEADER, rows)


def renamed(old: str, new: str) -> list[str]:
    return [new if name == old else name for name in HEADER]


def repeated(times: int) -> list[list[str]]:
    """One trial again and again, under other seeds."""
    found = []
    for seed in range(times):
        found.append(list(ROWS[0]))
        found[-1][HEADER.index("seed")] = str(seed)
    return found


SOUND = table(HEADER, ROWS)
TABLES: dict[str, bytes] = {
    "empty": b"",
    "json": b"[" * 100_000,
    "pickle": b"cos\nsystem\n(S'touch SPRUNG'\ntR.",
    "utf-16": SOUND.decode().encode("utf-16"),
    "latin": SOUND.replace(b"dcgan", b"dcg\xe9n"),
    "mark": b"\xef\xbb\xbf" + SOUND,
    "one quote": b'"' * 999 + b"\n",
    "open quote": SOUND + b'"',
    "carriage returns": SOUND.replace(b"\n", b"\r"),
    "zeros": bytes(100_000),
    "one cell": b"a" * 3_000_000,
    "commas": b"," * 1_000_000,
    "columns": table([*HEADER, *(f"m{i}" for i in range(5000))], []),
    "lines": b"\n" * 1_000_000,
    "columns alone": table(HEADER, []),
    "short row": table(HEADER, [ROWS[0][:-1]]),
    "long row": table(HEADER, [[*ROWS[0], ""]]),
    "a column twice": table([*HEADER, "fid"], [[*ROWS[0], "1"]]),
    "a trial twice": table(HEADER, [ROWS[0], ROWS[0]]),
    "no fid": table(HEADER[:9] + HEADER[10:], [ROWS[0][:9] + ROWS[0][10:]]),
    "many trials": table(HEADER, repeated(300)),
    "formulas": table(renamed("kid", "=1+1"), ROWS[:2]),
    "escapes": table(renamed("kid", "\x1b[2J"), ROWS[:2]),
    "rank": table(renamed("kid", "rank"), ROWS[:2]),
    "no name": table(renamed("kid", ""), ROWS[:2]),
    "dunder": table(renamed("kid", "__class__"), ROWS[:2]),
}  # fmt: skip


@pytest.mark.parametrize("column", HEADER)
def test_a_cell_that_a_stranger_wrote(column: str, told: Any, inside: Path) -> None:
    (inside / "sound.csv").write_bytes(SOUND)
    for value in CELLS:
        (inside / "trials.csv").write_bytes(with_cell(column, value))
        code, text = told(compare, "trials.csv", "sound.csv")
        assert code in (0, 2, 3) and len(text) < 300_000, (value[:40], text[:500])
        assert code != 2 or "trials.csv" in text


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_is_none_of_ours(name: str, told: Any, inside: Path) -> None:
    (inside / "sound.csv").write_bytes(SOUND)
    (inside / "trials.csv").write_bytes(TABLES[name])
    code, text = told(compare, "trials.csv", "sound.csv")
    sound = ("no fid", "many trials", "carriage returns", "mark")
    assert (code, "trials.csv" in text) == (2, True) or (name in sound and code in (0, 3)), text[:500]
