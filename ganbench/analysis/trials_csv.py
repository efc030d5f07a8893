"""Reads ``trials.csv``, or the same table in a page, into the frame that ``leaderboard`` and ``compare`` take."""

from __future__ import annotations

import csv
import importlib.util
import io
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from ganbench.analysis.frames import COLUMNS, COMPARABLE, DTYPES, HEAD, PROTOCOL_FIELDS, STABILITY
from ganbench.results.presets import preset_name
from ganbench.results.schema import STATUSES
from ganbench.utils import canonical_json
from ganbench.utils.errors import UsageError
from ganbench.utils.files import read_plain
from ganbench.utils.names import check_column

_WHOLE = ["seed", *(f"protocol_{name}" for name in PROTOCOL_FIELDS if DTYPES.get(name) == "int64")]
# Columns that tables of earlier versions do not have.
_LATER = ("given", "true_family", "environment_fields", "sampling_sd")
_CHOICES = {
    "status": STATUSES,
    "role": ("variant", "baseline", "planted"),
    "given": ("", "labels"),
    "true_family": ("", "yes"),
    "direction": ("min", "max", "none"),
}
# What a table adds to tell two contents of one name apart (frames.named); the columns after the trial say it in full.
_SUFFIX = re.compile(r"(@[0-9a-f]{8})+$")
_LONGEST_CELL = 1_000_000
_LARGEST_PAGE = 1 << 27  # bytes; one of 5,000 trials has 12 million
_EMBEDDED = re.compile(rb'<script type="application/json" id="trials">(.*?)</script>', re.DOTALL)
_MOST_BYTES, _MOST_VALUES = 1 << 26, 1_000_000  # of a table that somebody sent; a value takes some KB of memory
_AGAIN = "ganbench report --results FOLDER writes trials.csv again"
_MOST_COLUMNS = 1_200  # a record has at most 1,000 metrics


def reference_table() -> Path:
    """The trials.csv of the reference leaderboard, as it was installed.

    Raises:
        UsageError: this installation does not have it.
    """
    spec = importlib.util.find_spec("ganbench_reference")
    for place in (spec and spec.submodule_search_locations) or ():
        if (path := Path(place) / "trials.csv").is_file():
            return path
    raise UsageError("this installation of ganbench has no reference results; install it again with pip")


def read_trials(path: Path) -> pd.DataFrame:
    """A frame as ``frames.to_frame`` makes it, with the end of training only, from a ``trials.csv`` or a page.

    Raises:
        UsageError: it cannot be read, or is anything else; the message says which row and column.
    """
    rows = _embedded(path) if path.suffix.lower() in (".html", ".htm") else _rows(path)
    header = next(rows, (0, []))[1]
    if len(header) > _MOST_COLUMNS:
        raise UsageError(f"{path} is no trials.csv of ganbench: it has {len(header):,} columns")
    if repeated := sorted({name for name in header if header.count(name) > 1}):
        raise UsageError(f"{path} is no trials.csv of ganbench: it has two columns {', '.join(repeated)}")
    if missing := [name for name in (*HEAD, "trial", *COMPARABLE) if name not in (*header, *_LATER)]:
        what = (
            "ganbench report --results FOLDER writes one"
            if set(missing) == {*COMPARABLE} - {*_LATER}
            else "compare its folder"
        )
        raise UsageError(f"{path} is no trials.csv that can be compared, it has no column {', '.join(missing)}; {what}")
    metrics = header[header.index("note") + 1 : header.index("trial")]
    if hostile := [name for name in metrics if not _is_column(name)]:
        raise UsageError(f"{path} is no trials.csv of ganbench: {hostile[0][:40]!r} is no name of a metric")
    found: list[dict[str, Any]] = []
    seen: set[tuple[str, ...]] = set()
    for line, cells in rows:
        row = _Row(path, line, dict.fromkeys(_LATER, "") | dict(zip(header, cells, strict=True)))
        if row.trial in seen:  # it would count as another seed
            raise UsageError(f"{path}, line {line}: trial {row.cells['trial'][:40]!r} stands there twice")
        seen.add(row.trial)
        found += _cells(row, metrics)
        if len(found) > _MOST_VALUES:
            raise UsageError(f"{path} holds more than {_MOST_VALUES:,} values; compare its folder")
    frame = pd.DataFrame(found, columns=pd.Index(COLUMNS, dtype=object))
    # A whole number may be as long as a stranger likes.
    return frame.astype({name: dtype for name, dtype in DTYPES.items() if dtype != "int64"})


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows with their line numbers, each as long as the first, without the empty ones that editors add."""
    csv.field_size_limit(_LONGEST_CELL)
    width = None
    try:
        # A path that was typed may be a link: unlike one in a results folder.
        text = read_plain(path.resolve(), _MOST_BYTES).decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        for cells in reader:
            if not any(cells):
                continue
            if width is None:
                width = len(cells)
                _refuse_separator(path, cells)
            if len(cells) != width:
                raise UsageError(f"{path}, line {reader.line_num}: {len(cells)} cells under {width} columns")
            yield reader.line_num, cells
    except (OSError, RuntimeError) as reason:  # RuntimeError: links in a circle
        raise UsageError(f"{path} cannot be read: {getattr(reason, 'strerror', None) or reason}") from None
    except UnicodeDecodeError as reason:
        raise UsageError(f"{path} is no CSV file in UTF-8 ({reason}); {_AGAIN}") from None
    except csv.Error as reason:
        raise UsageError(f"{path} is no CSV file: {reason}; {_AGAIN}") from None


def _refuse_separator(path: Path, header: list[str]) -> None:
    """Raise UsageError for a table that a spreadsheet wrote: it may have rounded numbers and taken ids for numbers."""
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and {"dataset", "variant"} <= set(header[0].split(separator)):
            raise UsageError(
                f"{path} has {name} between its columns, as spreadsheets write in some languages, and their numbers "
                f"may be rounded or have decimal commas; {_AGAIN}"
            )


def _embedded(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The same rows from the table of trials in a ``leaderboard.html``."""
    try:
        found = _EMBEDDED.search(read_plain(path.resolve(), _LARGEST_PAGE))
        columns = canonical_json.loads(found[1]) if found else None
    except (OSError, RuntimeError) as reason:
        raise UsageError(f"{path} cannot be read: {getattr(reason, 'strerror', None) or reason}") from None
    except ValueError as reason:
        raise UsageError(f"{path} holds a table of trials that is not valid JSON ({reason})") from None
    if not isinstance(columns, dict) or not columns:
        raise UsageError(f"{path} holds no table of trials; ganbench report writes a leaderboard.html that does")
    cells = [_column(path, name, column) for name, column in columns.items()]
    if len({len(column) for column in cells}) != 1:
        raise UsageError(f"{path} holds a table of trials whose columns differ in length")
    yield 0, list(columns)
    for i, row in enumerate(zip(*cells, strict=True), start=1):
        yield i, list(row)


def _column(path: Path, name: str, column: Any) -> list[str]:
    """Cells as a CSV has them, of a list of values, or of numbers of a list of texts."""
    if isinstance(column, dict):
        texts, index = column.get("texts"), column.get("index")
        if isinstance(texts, list) and isinstance(index, list):
            places = range(len(texts))
            column = [texts[i] if type(i) is int and i in places else [] for i in index]
    if not isinstance(column, list) or not all(cell is None or type(cell) in (str, int, float) for cell in column):
        raise UsageError(f"{path} holds a table of trials with a column {name[:40]!r} that is none")
    return ["" if cell is None else cell if isinstance(cell, str) else repr(cell) for cell in column]


def _is_column(name: str) -> bool:
    try:
        check_column(name)
    except ValueError:
        return False
    return True


class _Row:
    """One trial's cells, read as what they have to be."""

    def __init__(self, path: Path, line: int, cells: dict[str, str]) -> None:
        self.path, self.line, self.cells = path, line, cells
        for name, choices in _CHOICES.items():
            if cells[name] not in choices:
                self._refuse(name, f"one of {', '.join(choices)}")
        for name in ("dataset", "protocol", "variant", "trial", "primary"):
            if not cells[name]:
                self._refuse(name, "a name")

    @property
    def trial(self) -> tuple[str, ...]:
        """What no other row has."""
        return tuple(self.cells[name] for name in ("dataset", "extractor", "protocol", "variant", "seed", "trial"))

    def whole(self, name: str) -> int:
        return int(self._read(name, int, "a whole number"))

    def number(self, name: str) -> float:
        """NaN for an empty cell."""
        return self._read(name, float, "a number") if self.cells[name] else math.nan

    def _read(self, name: str, kind: Callable[[str], Any], expected: str) -> Any:
        try:
            value = kind(self.cells[name])
            if math.isfinite(value):
                return value
        except (ValueError, OverflowError):
            pass
        return self._refuse(name, expected)

    def _refuse(self, name: str, expected: str) -> Any:
        text = self.cells[name]
        raise UsageError(f"{self.path}, line {self.line}, column {name}: {text[:40]!r} where {expected} should be")


def _cells(row: _Row, metrics: list[str]) -> Iterator[dict[str, Any]]:
    """A row of the frame for each metric; a trial without one has a row all the same."""
    text = row.cells
    trial: dict[str, Any] = {name: text[name] for name in (*HEAD, "trial", *COMPARABLE)}
    trial |= {name: row.whole(name) for name in _WHOLE}
    trial |= {name: _SUFFIX.sub("", text[name]) for name in ("dataset", "variant")}
    trial |= {name: row.number(name) for name in ("failure_score", "sampling_sd")}
    measured = [name for name in STABILITY if name in text]  # a file of an earlier version may lack some
    trial |= {name: text[name] if name == "evidence" else row.number(name) for name in measured}
    trial = {name.removeprefix("protocol_"): value for name, value in trial.items()}
    trial["preset"] = preset_name(*(trial[name] for name in ("dataset", "extractor", "samples", "split")))
    seen = trial["budget_images"] if text["status"] == "completed" else 0
    trial |= {"images_seen": seen, "final": True, "floor": math.nan, "floor_sd": math.nan}
    direction = trial.pop("direction")
    for position, metric in enumerate(metrics or [""]):
        yield {
            **trial,
            "metric": metric,
            "metric_label": metric,
            "position": position,
            "direction": direction if metric == trial["primary"] else "none",
            "value": row.number(metric) if metric else math.nan,
        }
