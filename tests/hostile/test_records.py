"""Records that a stranger sealed: the hash in them is right, and what they hold is not."""

from __future__ import annotations

import copy
import json
import os
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ganbench.cli.compare import command as compare
from ganbench.cli.merge import command as merge
from ganbench.cli.verify import command as verify
from ganbench.harness.artifacts import history_csv, image_grid
from ganbench.reporters import DEFAULT
from ganbench.reporters.report import write_reports
from ganbench.reporters.terminal import show, summarise
from ganbench.results import rescored
from ganbench.results.records import DamagedRecord, unseal
from ganbench.results.schema import Identity
from ganbench.results.spec import SCHEMA, TrialSpec
from ganbench.results.store import Contents, Store, read_records
from ganbench.utils import canonical_json
from ganbench.utils.files import write_atomic
from ganbench.utils.sealed_json import seal
from ganbench.utils.typed_json import convert

Record = dict[str, Any]
Resealed = Callable[[Record], bytes]

# Values of every JSON type, each of which is wrong in most places; and numbers at the end of the range.
WRONG: list[Any] = [None, True, "text", "../../outside/x", -1, 0.5, 2**70, 10**4000, 1e308, -1e308, 5e-324, [], {}]
WRONG += [[None], {"fid": "2.5"}, "=cmd|' /C calc'!A0", "\x1b[2J<script>", "a" * 20_000]
# What a record may say, by place; everything else is refused. A number from which nothing is derived may have any size.
TEXTS = re.compile(
    r"label|environment_hash|reason|state_sha256|metrics/\w+/label|environment/packages/\w+|"
    r"identity/trial/(distribution|source|dataset_hash|precision|engine|device)|identity/evaluation/(extractor_hash|split)"
)
NAMES = re.compile(r"primary|identity/trial/(variant|dataset)|identity/evaluation/extractor")
NUMBERS = re.compile(
    r"fid_train|decision_threshold|reference/(real|fake|train|features)|metrics/\w+/(floor|floor_spread|rows_per_feature)|"
    r"(evaluations/1/)?values/\w+|evaluations/1/watch/(losses|parameter_norms|(d_scores|gradient_norms)/\w+)/\w+|"
    r"telemetry/(gradient_spikes/\w+|gradient_norm_tenths/\w+/1)"
)
MEASURES = re.compile(
    r"reference/(trace|modes)|evaluations/1/watch/(fid|trace|modes|mode_kl|coverage|recovered_mass|d_auc(_train)?|d_accuracy_\w+)"
)
DERIVED = {"sha256", *(f"identity/{name}" for name in ("trial_hash", "evaluation_hash", "protocol", "id"))}


def places(value: Any, before: str = "") -> Iterator[str]:
    """Every place of a record, one for the many entries of a list or of an open mapping."""
    if isinstance(value, list):
        value = {"1": value[1]} if len(value) > 1 else {}
    elif not isinstance(value, dict):
        return
    elif before in ("metrics/", "values/", "evaluations/1/values/", "environment/packages/"):
        value = {name: item for name, item in value.items() if name in ("fid", "recall", "torch")}
    elif before == "environment/":
        value = {"packages": value["packages"]}
    for name, item in value.items():
        if (place := f"{before}{name}") not in DERIVED:
            yield place
            if place != "identity/trial/hyperparameters":
                yield from places(item, f"{place}/")


REAL = min((Path(__file__).parents[2] / "results").rglob("dcgan/seed-0-*/record.json"))
PLACES = list(places(json.loads(REAL.read_text())))


def at(record: Any, place: str) -> tuple[Any, Any]:
    """What holds a place, and its key there."""
    *way, last = (int(part) if part.isdigit() else part for part in place.split("/"))
    for part in way:
        record = record[part]
    return record, last


def changed(genuine: Record, place: str, value: Any) -> Record:
    record = copy.deepcopy(genuine)
    owner, key = at(record, place)
    owner[key] = value
    return record


def report(folder: Path) -> Contents:
    """``ganbench report``, and a finished run, as far as they go after the records were read."""
    found, report = write_reports(folder, DEFAULT)
    show(report)
    summarise(found, folder)
    return found


def is_fit(place: str, value: Any) -> bool:
    """Whether a value may stand there: written down apart from the schema, from what the tables can bear."""
    if type(value) is str:
        return bool(TEXTS.fullmatch(place) and len(value) <= 10_000) or bool(NAMES.fullmatch(place) and value == "text")
    if type(value) in (int, float):
        small = abs(value) <= 2**53 or type(value) is float
        measure = MEASURES.fullmatch(place) and 1e-100 <= abs(value) <= 1e100
        return small and bool(NUMBERS.fullmatch(place) or measure)
    return False


def refused(record: Record, resealed: Resealed) -> str:
    """Why a record is refused, or nothing."""
    try:
        unseal(resealed(record))
    except DamagedRecord as reason:
        return str(reason)
    return ""


@pytest.mark.parametrize("place", PLACES)
def test_what_is_wrong_is_refused_by_its_place(place: str, genuine: Record, resealed: Resealed) -> None:
    for value in WRONG:
        why = refused(changed(genuine, place, value), resealed)
        if type(value) in (str, int, float):
            assert bool(why) != is_fit(place, value), (value, why)
        assert len(why) < 400 and why.isprintable()
        if why and place != "schema":
            assert why.startswith("its hash is right, but ")
            named = place.rpartition("/")[2] if not place.endswith("/1") else place.split("/")[-2]
            assert named in why or repr(value)[:20] in why or place.startswith(("metrics", "environment")), why


# One of several that are drawn alike will do.
ALIKE = re.compile(
    r"identity/.*(hash|distribution|precision|engine|device)|(metrics|evaluations/1/values)/recall.*|.*/generator(/.*)?|"
    r"evaluations/1/watch/(d_scores/(test|train)/.*|d_scores/fake/(std|median)|d_accuracy_(real|train)|d_auc_train)"
)
SHOWN = [place for place in PLACES if any(is_fit(place, value) for value in WRONG) and not ALIKE.fullmatch(place)]


@pytest.mark.parametrize("place", SHOWN)
def test_what_is_odd_is_shown(
    place: str, genuine: Record, resealed: Resealed, harmless: Any, put: Any, inside: Path
) -> None:
    odd = [changed(genuine, place, value) for value in WRONG if value != "text" or NAMES.fullmatch(place)]
    fit = [record for record in odd if not refused(record, resealed)]
    for seed, record in enumerate(fit):
        put(resealed(changed(record, "identity/trial/seed", seed)))
    found = harmless(lambda: report(inside / "results"))
    assert len(found.records) == len(fit) and not found.problems
    for name in ("leaderboard.csv", "trials.csv"):
        assert pd.read_csv(inside / "results" / name)["dataset"].str.startswith(("digits", "text")).all()


def test_a_missing_part_is_named_or_not_needed(genuine: Record, resealed: Resealed) -> None:
    needed = 0
    for place in PLACES:
        record = copy.deepcopy(genuine)
        owner, key = at(record, place)
        del owner[key]
        why = refused(record, resealed)
        assert not why or f"missing required field `{key}`" in why or place == "schema", why
        needed += bool(why)
    assert needed > 30


def odd(genuine: Record) -> Iterator[tuple[str, Record]]:
    """Records that are wrong as a whole."""
    about = genuine["metrics"]["fid"]
    columns = ("dataset", "rank", "variant", "x_low", "fid_floor", "../x", "=1+1", "", "FID", "a" * 65, "x.\x1b[2J")
    for name in (*columns, "x.<script>\n", "con", "007", "nan"):
        yield f"metric {name!r}", {**genuine, "metrics": {**genuine["metrics"], name: about}}
    yield "columns", {**genuine, "metrics": {f"m{i}": about for i in range(1001)}}
    yield "evaluations", {**genuine, "evaluations": [{"step": 0, "images_seen": 0, "values": {}}] * 5002}
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    yield "deep", {**genuine, "more": deep}
    yield "deep hyperparameters", changed(genuine, "identity/trial/hyperparameters", {"x": deep})
    yield "centres", changed(genuine, "reference/centres", [[0.0, 1.0], [2.0]])
    yield "norms", changed(genuine, "telemetry/gradient_norm_tenths", {"discriminator": [None, "x"]})
    yield "empty", {}
    for name in (
        "../../x",
        "..",
        "/etc",
        "a/b",
        "con",
        "nul.txt",
        "NA",
        "na",
        "007",
        "1e5",
        "é",
        "e\u0301",
        "DCGAN",
        " a",
        "-rf",
    ):
        yield f"dataset {name!r}", changed(genuine, "identity/trial/dataset", name)
        yield f"variant {name!r}", changed(genuine, "identity/trial/variant", name)
    for name in ("folder:/etc", "inception-v3@../x", "inception-v3@", "https://example.org/x"):
        yield f"extractor {name!r}", changed(genuine, "identity/evaluation/extractor", name)


ODD = [name for name, _ in odd(json.loads(REAL.read_text()))]


@pytest.mark.parametrize("name", ODD)
def test_odd_records_are_refused(name: str, genuine: Record, resealed: Resealed) -> None:
    why = refused(dict(odd(genuine))[name], resealed)
    assert why and why.isprintable() and len(why) < 400


@pytest.mark.parametrize("field", ["trial_hash", "evaluation_hash", "protocol", "id"])
def test_a_protocol_that_is_not_its_own_is_refused(
    field: str, genuine: Record, harmless: Any, put: Any, inside: Path
) -> None:
    """It would be ranked beside scores that it does not compare with."""
    put(seal(changed(genuine, f"identity/{field}", "a23c9eb3")).encode())
    found = harmless(lambda: report(inside / "results"))
    assert not found.records and f"its {field} does not follow" in found.problems[0].reason


BYTES = {
    "empty": b"",
    "zeros": bytes(1000),
    "nothing": b"null\n",
    "list": b"[]\n",
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "closed deep lists": b"[" * 900 + b"]" * 900,
    "digits": b'{"schema":' + b"9" * 5000 + b"}",
    "many digits": b'{"schema":1,"x":' + b"9" * 4000 + b"}",
    "not a number": b'{"schema":NaN}',
    "infinity": b'{"schema":-Infinity}',
    "overflow": b'{"schema":1,"x":1e999}',
    "half a surrogate": b'{"schema":1,"x":"\\ud800"}',
    "twice": b'{"schema":1,"schema":1}',
    "mark": b"\xef\xbb\xbf{}",
    "latin": b'{"schema":"\xe9"}',
    "wide": '{"schema":1}'.encode("utf-16"),
    "newer": b'{"schema":%d}' % (SCHEMA + 1),
    "older": b'{"schema":0}',
    "true": b'{"schema":true}',
    "tag": b"!!python/object/apply:os.system ['touch SPRUNG']",
    "pickle": b"cos\nsystem\n(S'touch SPRUNG'\ntR.",
}


@pytest.mark.parametrize("file", ["record.json", "rescored.json", "cost.json"])
def test_bytes_that_are_no_json_of_ours(
    file: str, genuine: Record, resealed: Resealed, harmless: Any, put: Any, inside: Path
) -> None:
    for seed, text in enumerate(BYTES.values()):
        folder = put(resealed(changed(genuine, "identity/trial/seed", seed)))
        (folder / file).write_bytes(text)
    found = harmless(lambda: (report if file == "cost.json" else read_records)(inside / "results"), len(BYTES))
    assert [problem.path.name for problem in found.problems] == ([] if file == "cost.json" else [file] * len(BYTES))
    assert len(found.records) == (0 if file == "record.json" else len(BYTES))


@pytest.mark.parametrize("name", BYTES)
def test_progress_that_is_none(name: str, inside: Path, harmless: Any) -> None:
    """The driver of a sweep reads it while a trial runs, and shows it."""
    from types import SimpleNamespace

    from ganbench.results.progress import ProgressReader
    from ganbench.runner.scheduler import RunningJob, RunningTrial, Sweep

    shown: list[Any] = []
    spec = SimpleNamespace(trial=None, protocol=SimpleNamespace(budget_images=1))
    display = SimpleNamespace(progress=lambda *arguments: shown.append(arguments))
    sweep = Sweep(None, None, None, None, display)  # type: ignore[arg-type]
    good = b'{"images":64}\n'
    lines = [
        BYTES[name].replace(b"\n", b" "),
        b'{"images":"9"}',
        b'{"evaluation":{"images_seen":1}}',
        b'{"evaluation":7}',
    ]
    (inside / "progress.jsonl").write_bytes(b"\n".join([*lines, good]))
    trial = RunningTrial(SimpleNamespace(spec=spec), ProgressReader(inside / "progress.jsonl"))  # type: ignore[arg-type]
    harmless(lambda: sweep._read_progress(RunningJob([trial])))
    assert [arguments[1] for arguments in shown] == [64]


def test_a_line_of_progress_without_an_end_is_read_to_a_limit(inside: Path, harmless: Any) -> None:
    from types import SimpleNamespace

    from ganbench.results.progress import ProgressReader
    from ganbench.runner.scheduler import RunningJob, RunningTrial, Sweep

    with open(inside / "progress.jsonl", "wb") as file:
        file.truncate(1 << 36)
    sweep = Sweep(None, None, None, None, None)  # type: ignore[arg-type]
    trial = RunningTrial(SimpleNamespace(spec=None), ProgressReader(inside / "progress.jsonl"))  # type: ignore[arg-type]
    state = RunningJob([trial])
    harmless(lambda: sweep._read_progress(state))
    assert (state.images, trial.progress.offset) == (0, 0)


RESCORED: dict[str, Any] = {
    "values": {"recall2": "high"},
    "metrics": {"x": {"label": 1, "direction": "min"}},
    "names": {"../x": {"label": "X", "direction": "min"}},
    "direction": {"x": {"label": "X", "direction": "sideways"}},
    "position": {"x": {"label": "X", "direction": "min", "position": "first"}},
    "column": {"rank": {"label": "X", "direction": "min"}},
}


@pytest.mark.parametrize("name", RESCORED)
def test_what_a_stranger_added_to_a_record(
    name: str, genuine: Record, resealed: Resealed, harmless: Any, put: Any, inside: Path
) -> None:
    folder = put(resealed(genuine))
    found = {"record": json.loads(resealed(genuine))["sha256"], "metrics": {}, "values": {}, "environment": {}}
    found["values" if name == "values" else "metrics"] = RESCORED[name]
    (folder / rescored.FILE).write_text(seal({"schema": 1, **found}))
    read = harmless(lambda: report(inside / "results"))
    assert len(read.records) == 1 and "its hash is right, but" in read.problems[0].reason


def huge(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(1 << 36)


PUT_THERE: dict[str, Callable[[Path], Any]] = {
    "a link": lambda path: path.symlink_to("../../../../../outside/precious"),
    "a link to nothing": lambda path: path.symlink_to("../../../../../outside/new"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a pipe": lambda path: os.mkfifo(path),
    "a folder": lambda path: path.mkdir(),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "64 GB": huge,
}


@pytest.mark.parametrize(
    "file", ["record.json", "rescored.json", "cost.json", "samples/points.csv", "samples/64000.png"]
)
@pytest.mark.parametrize("name", PUT_THERE)
def test_what_is_no_file_is_not_read(
    name: str, file: str, genuine: Record, resealed: Resealed, harmless: Any, put: Any, inside: Path
) -> None:
    folder = put(resealed(genuine))
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).unlink(missing_ok=True)
    PUT_THERE[name](folder / file)
    found = harmless(lambda: (read_records if "re" in file else report)(inside / "results"))
    named = [] if file.startswith("samples") or file == "cost.json" else [file]
    assert [problem.path.name for problem in found.problems] == named
    page = inside / "results/leaderboard.html"
    assert not page.exists() or b"cHJlY2lvdXM" not in page.read_bytes()  # "precious"


def bombs() -> dict[str, bytes]:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    def png(side: int, *chunks: bytes) -> bytes:
        header = chunk(b"IHDR", side.to_bytes(4) + side.to_bytes(4) + b"\x08\0\0\0\0")
        return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")

    data = zlib.compress(bytes(1 << 24))
    return {
        "40,000 pixels a side": png(40_000, chunk(b"IDAT", data)),
        "10,000 pixels a side": png(10_000, chunk(b"IDAT", data)),
        "text that unpacks to 16 MB": png(265, chunk(b"zTXt", b"a\0\0" + data), chunk(b"IDAT", data)),
        "a broken chunk": png(265, b"\0\0\0\x04IDAT\0\0\0\0\0\0\0\0"),
        "no pixels": png(265),
    }


BOMBS = bombs()


@pytest.mark.parametrize("file", ["history.csv", "samples/64000.png", "samples/points.csv", "pictures/nearest.png"])
@pytest.mark.parametrize("name", [*PUT_THERE, *BOMBS, *BYTES])
def test_what_verify_compares_with_a_state(name: str, file: str, inside: Path, harmless: Any) -> None:
    """Whatever stands there is named as different: never waited for, never read without a limit."""
    import torch

    from ganbench.harness.artifacts import differing_files, write_pictures, write_samples

    evaluations = [{"step": 1000, "images_seen": 64_000, "values": {"fid": 1.0}}]
    samples = torch.zeros(64, 2) if file.endswith("points.csv") else torch.zeros(64, 1, 8, 8, dtype=torch.uint8)
    pictures = {"nearest": image_grid(np.zeros((8, 1, 8, 8), dtype=np.uint8))}
    write_samples(inside, 64_000, samples)
    write_pictures(inside, pictures, {})
    (inside / "history.csv").write_bytes(history_csv(evaluations))
    assert differing_files(inside, evaluations, samples, pictures) == []
    (inside / file).unlink()
    if name in PUT_THERE:
        PUT_THERE[name](inside / file)
    else:
        (inside / file).write_bytes((BOMBS | BYTES)[name])
    assert harmless(lambda: differing_files(inside, evaluations, samples, pictures)) == [file]


@pytest.mark.parametrize("name", PUT_THERE)
def test_progress_that_is_no_file_holds_no_sweep_up(name: str, inside: Path, harmless: Any) -> None:
    from ganbench.results.progress import ProgressReader

    PUT_THERE[name](inside / "progress.jsonl")
    assert harmless(lambda: list(ProgressReader(inside / "progress.jsonl").new_lines())) == []


@pytest.mark.parametrize(
    "text",
    [
        "images_seen,x,y\n1,1e308,-1e308\n1,1e-320,1\n",
        "images_seen,x,y\n99999999999999999999999,1,1\n",
        "images_seen,x,y\n1,inf,nan\n",
        "images_seen,images_seen,x,y\n1,1,1,1\n",
        "images_seen,x,y\n" + "1," * 5000 + "\n",
        '"' * 999,
        "images_seen,x,y\n1,=cmd,<script>\n",
    ],
    ids=range(7),
)
def test_points_from_a_stranger(
    text: str, genuine: Record, resealed: Resealed, harmless: Any, put: Any, inside: Path
) -> None:
    folder = put(resealed(genuine))
    (folder / "samples").mkdir()
    (folder / "samples" / "points.csv").write_text(text)
    assert len(harmless(lambda: report(inside / "results")).records) == 1
    assert (inside / "results/leaderboard.html").read_text().count("<script>") == 1  # its own


def test_a_picture_is_a_picture(genuine: Record, resealed: Resealed, harmless: Any, put: Any, inside: Path) -> None:
    """The page is shown around: no other file may travel in it, by a link or under a picture's name."""
    folder = put(resealed(genuine))
    page = inside / "results/leaderboard.html"
    (folder / "samples").symlink_to(inside.parent / "outside")
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (40_000).to_bytes(4) + (40_000).to_bytes(4)
    (inside.parent / "outside" / "1.png").write_bytes(png.replace((40_000).to_bytes(4), (4).to_bytes(4)))
    harmless(lambda: report(inside / "results"))
    assert "<img" not in page.read_text()
    (folder / "samples").unlink()
    (folder / "samples").mkdir()
    for data in (b"-----BEGIN OPENSSH PRIVATE KEY-----", png, b"<svg onload=alert(1)>"):
        (folder / "samples" / "1.png").write_bytes(data)
        harmless(lambda: report(inside / "results"))
        assert "<img" not in page.read_text()
    (folder / "samples" / "1.png").write_bytes((inside.parent / "outside" / "1.png").read_bytes())
    harmless(lambda: report(inside / "results"))
    assert "<img" in page.read_text()


def spec_of(record: Record) -> Any:

    return TrialSpec.from_identity(convert(record["identity"], Identity))


@pytest.mark.parametrize("name", ["dataset", "variant", "trial", "quarantine", "superseded", ".lock"])
def test_nothing_is_written_through_a_link(
    name: str, genuine: Record, resealed: Resealed, harmless: Any, put: Any, inside: Path
) -> None:
    """``ganbench run`` in a results folder that a stranger packed."""
    outside, root = inside.parent / "outside", inside / "results"
    spec, store = spec_of(genuine), Store(root)
    folder = root.joinpath(*store.folder(spec).relative_to(root).parts)
    links = {"dataset": folder.parents[1], "variant": folder.parent, "trial": folder}
    if name in links:
        links[name].parent.mkdir(parents=True, exist_ok=True)
        links[name].symlink_to(outside)
    else:
        put(b"{}", str(folder.relative_to(root)))
        (root / name).symlink_to(outside / "precious" if name == ".lock" else outside)

    def run() -> None:
        with store.locked():
            assert store.state(spec) in ("new", "damaged")
            store.supersede([spec])
            store.find(spec)
            store.prepare(spec)
            store.finish(spec, unseal(resealed(genuine)), {})

    told = harmless(run)
    assert told is None or "link" in told
    assert (told is None) == (name == "superseded")


def test_a_link_under_the_name_of_a_temporary_file(harmless: Any, inside: Path) -> None:
    (inside / f".record.json.{os.getpid()}.tmp").symlink_to(inside.parent / "outside" / "precious")
    harmless(lambda: write_atomic(inside / "record.json", b"new"))
    assert (inside / "record.json").read_bytes() == b"new"


def test_what_a_trial_writes_stays_in_its_folder(genuine: Record, harmless: Any, inside: Path) -> None:
    spec, store = spec_of(genuine), Store(inside / "results")
    folder = store.prepare(spec)
    for name in ("log.txt", "progress.jsonl", "samples", "state.safetensors", "points.csv"):
        (folder / name).symlink_to(inside.parent / "outside" / "precious")
    harmless(lambda: store.prepare(spec))
    assert list(folder.iterdir()) == []


def test_hostile_records_beside_a_good_one_through_the_command_line(
    genuine: Record,
    resealed: Resealed,
    put: Any,
    inside: Path,
    harmless: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: Any,
) -> None:
    import sys

    from ganbench.cli import main

    put(resealed(genuine))
    texts = [BYTES[name] for name in BYTES] + [resealed(record) for _, record in odd(genuine)]
    for i, text in enumerate(texts):
        put(text, f"digits/dcgan/seed-{i}-00000000")
    sound = read_records(inside / "results")
    assert len(sound.records) == 1
    for command in (["report"], ["compare", "results", "results"]):
        monkeypatch.setattr(sys, "argv", ["ganbench", *command])
        with pytest.raises(SystemExit) as ended, capfd.disabled():
            main()
        assert ended.value.code == 3
    assert len(pd.read_csv(inside / "results" / "trials.csv")) == 1
    assert canonical_json.dumps(sound.records[0].values) == canonical_json.dumps(genuine["values"])


@pytest.mark.parametrize("name", PUT_THERE)
def test_what_is_no_table(name: str, told: Any, inside: Path) -> None:
    (inside / "deep/er").mkdir(parents=True)
    PUT_THERE[name](inside / "deep/er/trials.csv")
    code, text = told(compare, "deep/er/trials.csv", "reference")
    assert code == 2 and "trials.csv" in text and "precious" not in text


FILES = ["record.json", "rescored.json", "cost.json", "history.csv", "log.txt", "state.safetensors"]
FILES += ["samples", "samples/points.csv", "samples/64.png"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("name", PUT_THERE)
def test_what_is_no_file_is_not_merged(
    name: str, file: str, genuine: Any, resealed: Any, merged: Any, put: Any, inside: Path
) -> None:
    folder = put(resealed(genuine))
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).unlink(missing_ok=True)
    PUT_THERE[name](folder / file)
    code, text = merged()
    if file != "samples":
        assert code == 3 and Path(file).name in text, text
    assert "precious" not in text and not list((inside / "target").rglob("*precious*"))


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_folder_that_is_a_link_is_not_merged(
    level: int, genuine: Any, resealed: Any, told: Any, put: Any, inside: Path
) -> None:
    folder = put(resealed(genuine))
    place = [folder, folder.parent, folder.parents[1]][level - 1]
    place.rename(inside.parent / "outside" / "moved")
    place.symlink_to(inside.parent / "outside" / "moved")
    code, text = told(merge, "results", "--into", "target")
    assert code == 3 and "link" in text and not list((inside / "target").rglob("record.json"))


@pytest.mark.parametrize("file", ["record.json", "rescored.json", "cost.json"])
def test_bytes_that_are_none_of_ours_are_not_merged(
    file: str, genuine: Any, resealed: Any, merged: Any, put: Any, inside: Path
) -> None:
    for seed, text in enumerate(BYTES.values()):
        folder = put(resealed(changed(genuine, "identity/trial/seed", seed)))
        (folder / file).write_bytes(text)
    code, text = merged()
    assert (code, text.count(f"{file}: ")) == ((0, 0) if file == "cost.json" else (3, len(BYTES))), text


def test_odd_records_are_not_merged(genuine: Any, resealed: Any, merged: Any, put: Any, inside: Path) -> None:
    for seed, (_, record) in enumerate(odd(genuine)):
        put(resealed(record), f"digits/dcgan/seed-{seed}-00000000")
    code, text = merged()
    assert code == 3 and text.count("record.json: ") == len(ODD) and not list((inside / "target").rglob("record.json"))


def in_target() -> Iterator[tuple[str, Callable[[Path, Path], Any]]]:
    """What may stand in the folder that is merged into, by its place: ``(trial's folder, outside)``."""
    for level, name in enumerate(("trial", "variant", "dataset")):
        yield name, lambda trial, outside, level=level: link([trial, *trial.parents][level], outside)
    yield "samples", lambda trial, outside: link(trial / "samples", outside)
    yield "lock", lambda trial, outside: link(trial.parents[2] / ".lock", outside / "precious")
    for name in ("record.json", "state.safetensors", "cost.json", "samples/64.png", "leaderboard.csv"):
        root = 2 if name == "leaderboard.csv" else None

        def of_file(trial: Path, outside: Path, name: str = name, root: int | None = root) -> None:
            link((trial if root is None else trial.parents[root]) / name, outside / "precious")

        yield name, of_file
    yield "huge", lambda trial, outside: (trial.mkdir(parents=True), huge(trial / "record.json"))
    yield "pipe", lambda trial, outside: (trial.mkdir(parents=True), os.mkfifo(trial / "cost.json"))


def link(path: Path, to: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(to)


@pytest.mark.parametrize(("name", "make"), list(in_target()), ids=[name for name, _ in in_target()])
def test_nothing_is_merged_through_a_link(
    name: str, make: Any, genuine: Any, resealed: Any, told: Any, put: Any, inside: Path
) -> None:
    folder = put(resealed(genuine))
    (folder / "samples").mkdir()
    for file in ("cost.json", "history.csv", "log.txt", "samples/64.png"):
        (folder / file).write_text("mine")
    make(inside / "target" / folder.relative_to(inside / "results"), inside.parent / "outside")
    code, text = told(merge, "results", "--into", "target")
    assert code in (0, 3), text
    whole = [path for path in (inside / "target").rglob("record.json") if not path.is_symlink()]
    assert whole or (code == 3 and "link" in text), text


def test_a_rescoring_of_another_record_is_not_merged(
    genuine: Any, resealed: Any, merged: Any, put: Any, inside: Path
) -> None:
    folder = put(resealed(genuine))
    found = {"record": "0" * 64, "metrics": {}, "values": {}, "environment": {}}
    (folder / rescored.FILE).write_text(seal({"schema": 1, **found}))
    code, text = merged()
    assert code == 3 and "computed for another record" in text
    assert Store(inside / "target").place(convert(genuine["identity"], Identity)).is_dir()


@pytest.mark.parametrize("file", ["leaderboard.csv", "leaderboard.html", f"digits/dcgan/{REAL.parent.name}/cost.json"])
@pytest.mark.parametrize("name", PUT_THERE)
def test_what_is_no_file_is_not_verified(
    name: str, file: str, genuine: Record, resealed: Resealed, told: Any, put: Any, inside: Path, monkeypatch: Any
) -> None:
    (inside / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(inside / "scratch"))
    put(resealed(genuine))
    PUT_THERE[name](inside / "results" / file)
    code, text = told(verify, "results", "--records-only")
    assert (code, f"{file}: not what the records give" in text) == ((0, False) if "cost" in file else (3, True)), text
    assert "precious" not in text and not list((inside / "scratch").iterdir())
