"""``ganbench verify``: sound folders pass to the bit, and every planted change is found."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image

from ganbench.cli import verify as verifying
from ganbench.cli.verify import (
    CLOSE,
    SAME,
    UNKNOWN,
    WRONG,
    Options,
    Row,
    _judge_stored,
    compare_values,
    judge_rerun,
    verify,
)
from ganbench.executors import DeadlineExceeded, Job, MemoryExceeded, WorkerDied
from ganbench.executors.inline import InlineExecutor
from ganbench.executors.running import End, Ended
from ganbench.reporters.report import write_reports
from ganbench.results.records import as_json, read
from ganbench.results.schema import Record
from ganbench.results.spec import TrialSpec
from ganbench.utils.errors import UsageError
from ganbench.utils.sealed_json import seal

SMALL = ("--images", "640", "--evaluations", "2", "--samples", "100", "--seeds", "1", "--metrics", "fid,coverage")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, command: Callable[..., subprocess.CompletedProcess[str]]) -> Path:
    folder = tmp_path_factory.mktemp("swept")
    done = command(folder, "run", "-p", "vanilla,planted-nan", "-d", "digits,ring8", "--executor", "inline", *SMALL)
    assert done.returncode == 1, done.stderr  # planted-nan diverges
    return folder / "ganbench-results"


@pytest.fixture
def copy(swept: Path, tmp_path: Path) -> Path:
    shutil.copytree(swept, tmp_path / "ganbench-results")
    return tmp_path / "ganbench-results"


def inline(results: Path, **options) -> int:
    return verify(results, Options(executor="inline", **options))


def only(results: Path, pattern: str) -> Path:
    (path,) = results.glob(pattern)
    return path


def snapshot(results: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}


def test_a_sound_folder_is_bit_identical_trained_again_too(swept: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = snapshot(swept)
    assert inline(swept, rerun=4) == 0
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert lines[0].split()[0] == "trial" and "trained again" in lines[0]
    vanilla = [line for line in lines if line.startswith("vanilla")]
    assert len(vanilla) == 2 and all(line.count(SAME) == 2 for line in vanilla)
    planted = [line for line in lines if line.startswith("planted-nan")]
    assert len(planted) == 2 and all(UNKNOWN in line and SAME in line for line in planted)
    assert "4 sound records, 0 damaged; states: 2 bit-identical, 2 not checked; reruns: 4 bit-identical" in lines[-1]
    assert "WRONG" not in err and snapshot(swept) == before


def test_the_command_is_light_without_states(swept: Path) -> None:
    code = (
        "import sys; sys.argv = ['ganbench', 'verify', sys.argv[1], '--records-only']\n"
        "from ganbench.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert not {'torch', 'ganbench_plugins'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(swept)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "4 sound records, 0 damaged" in done.stdout


def edit_number(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


@pytest.mark.parametrize("name", ["leaderboard.csv", "trials.csv", "leaderboard.md", "leaderboard.html"])
def test_an_edited_table_is_found(copy: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-2] + b" " + content[-2:])
    assert inline(copy, records_only=True) == 3
    assert f"WRONG: {copy / name}: not what the records give" in capfd.readouterr().err


def test_tables_of_chosen_columns_are_known_where_they_are_named(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_reports(copy, ["md"], columns=["rank", "fid"])
    assert (
        inline(copy, records_only=True) == 3 and "leaderboard.md: not what the records give" in capfd.readouterr().err
    )
    assert inline(copy, records_only=True, columns=("rank", "fid")) == 0
    assert inline(copy, records_only=True, columns=("rank",)) == 3


def test_of_records_of_another_version_of_the_metrics_a_rerun_compares_the_weights(swept: Path) -> None:
    for pattern in ("digits/vanilla/*/record.json", "ring8/planted-nan/*/record.json"):
        now = read(only(swept, pattern))
        before = replace(now.identity, evaluation=replace(now.identity.evaluation, metrics_version=1))
        record = replace(now, identity=before, evaluations=now.evaluations[:1], values={})
        again = as_json(now) | {"state_sha256": now.state_sha256}
        verdict, told = judge_rerun(record, again, [])
        assert verdict == SAME and told.startswith("its weights; version 1 of the metrics evaluated at other times")
        other, told = judge_rerun(record, again | {"state_sha256": "0" * 64}, [])
        assert other == WRONG and "state_sha256 differs" in told


def test_an_edited_record_is_found(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = only(copy, "ring8/vanilla/*/record.json")
    edit_number(path, b'"completed"', b'"diverged"')
    assert inline(copy, records_only=True) == 3
    assert f"WRONG: {path}: its content does not match its hash" in capfd.readouterr().err


def test_a_forged_score_with_a_right_hash_is_found(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = only(copy, "digits/vanilla/*/record.json")
    record = json.loads(path.read_text())
    record["values"]["fid"] /= 2
    record["evaluations"][-1]["values"]["fid"] = record["values"]["fid"]
    path.write_text(seal(record))
    assert inline(copy, rerun=4) == 3
    err = capfd.readouterr().err
    assert "vanilla on digits, seed 0" in err and "trained again, evaluations differs" in err
    assert "history.csv: not what the record and the stored state give" in err


def test_another_state_or_picture_is_found(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    state = only(copy, "digits/vanilla/*/state.safetensors")
    shutil.copyfile(only(copy, "ring8/vanilla/*/state.safetensors"), state)
    points = only(copy, "ring8/vanilla/*/samples/points.csv")
    edit_number(points, points.read_bytes().splitlines()[-1], b"640,0.0,0.0")
    assert inline(copy) == 3
    err = capfd.readouterr().err
    assert f"{state} cannot be used" in err
    assert "samples/points.csv: not what the record and the stored state give" in err


def test_one_pixel_of_a_picture_is_found(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = only(copy, "digits/vanilla/*/samples/640.png")
    pixels = np.array(Image.open(path))
    (copy / "leaderboard.html").unlink()  # it shows the picture as it is packed
    assert inline(copy) == 0
    Image.fromarray(pixels).save(path, compress_level=1)  # packed otherwise, the same picture
    assert inline(copy) == 0
    pixels[9, 9] ^= 1
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG")
    path.write_bytes(out.getvalue())
    assert inline(copy) == 3 and "samples/640.png: not what" in capfd.readouterr().err


def test_what_cannot_be_checked_is_said_and_is_no_damage(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    only(copy, "digits/vanilla/*/state.safetensors").unlink()
    assert inline(copy) == 0
    assert "vanilla on digits, seed 0: not checked: its state.safetensors is not there" in capfd.readouterr().err
    with pytest.raises(UsageError, match="no records"):
        inline(copy.parent)


def failed(reason: Exception) -> Future[dict[str, Any]]:
    future: Future[dict[str, Any]] = Future()
    future.set_exception(reason)
    return future


class Losing(InlineExecutor):
    """An engine that loses what is trained again, as where its process is killed or stopped."""

    def __init__(self, loss: Exception | dict[str, Any]) -> None:
        super().__init__(1, 1, {})
        self.loss = loss

    def submit(self, job: Job) -> Future[dict[str, Any]]:
        if job.payload["kind"] != "rerun":
            return super().submit(job)
        if isinstance(self.loss, Exception):
            return failed(self.loss)
        future: Future[dict[str, Any]] = Future()
        future.set_result(self.loss)
        return future


@pytest.mark.parametrize(
    ("loss", "reason"),
    [
        (WorkerDied("killed by SIGKILL", -9), "killed by SIGKILL, 3 times"),
        (WorkerDied("exit code 3", 3), "exit code 3"),
        (DeadlineExceeded("it ran longer than 8 s"), "longer than 8 s"),
        (MemoryExceeded("it held more than 1 GB"), "more than 1 GB"),
        ({"interrupted": True}, "it was stopped 3 times"),
        ({"failed": "the plugin is gone", "usage": True}, "the plugin is gone"),
        ({"unwritable": "the disk is full"}, "the disk is full"),
    ],
)
def test_a_rerun_that_did_not_happen_is_no_agreement(
    loss: Any, reason: str, swept: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verifying, "on_this_machine", lambda name, jobs: contextlib.nullcontext(Losing(loss)))
    assert inline(swept, rerun=1) == 1
    out, err = capfd.readouterr()
    assert "not checked: it was not trained again: " in err and reason in err
    assert "reruns: 1 not checked" in out + err


def test_a_check_whose_process_was_lost_is_no_agreement(
    swept: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = Losing({})
    engine.submit = lambda job: failed(WorkerDied("exit code 3", 3))  # type: ignore[method-assign]
    monkeypatch.setattr(verifying, "on_this_machine", lambda name, jobs: contextlib.nullcontext(engine))
    assert inline(swept) == 1 and "not checked: exit code 3" in capfd.readouterr().err


def test_no_trial_to_train_again_is_no_agreement(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for path in copy.glob("*/*/seed-*/record.json"):
        path.write_text(
            seal({**{k: v for k, v in json.loads(path.read_text()).items() if k != "sha256"}, "status": "crashed"})
        )
    for table in {*copy.glob("*.csv"), *copy.glob("leaderboard.*")}:
        table.unlink()
    assert inline(copy, rerun=2) == 1 and "no trial was trained again" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("now", "exact", "verdict"),
    [
        (2.0, True, SAME),
        (2.0, False, SAME),
        (2.0000001, True, WRONG),
        (2.0000001, False, CLOSE),
        (2.1, False, WRONG),
        (None, False, WRONG),
    ],
)
def test_how_far_a_number_may_be(now: float | None, exact: bool, verdict: str) -> None:
    assert compare_values({"fid": 2.0, "kid": None}, {"fid": now, "kid": None}, exact)[0] == verdict


@pytest.mark.parametrize(
    ("device", "now", "verdict", "said"),
    [
        ("cpu", 9.0, WRONG, "fid is"),
        ("cuda", 9.0, UNKNOWN, "its state is the record's, but its scores cannot be compared: cuda draws other random"),
        ("cuda", None, CLOSE, "in another environment"),
    ],
)
def test_on_another_type_of_device_scores_are_of_other_samples(
    device: str, now: float | None, verdict: str, said: str, swept: Path
) -> None:
    folder = only(swept, "digits/vanilla/*/record.json").parent
    record = read(folder / "record.json")
    values = record.values | {"fid": record.values["fid"] * 1.001 if now is None else now}
    result = {"environment": {}, "differing": ["history.csv"], "values": values, "device": device}
    assert (found := _judge_stored(Row(record, None, folder), Ended(End.RETURNED, result=result)))[0] == verdict
    assert said in found[1]


def test_trained_in_another_environment_the_spread_of_seeds_says_what_is_near(swept: Path) -> None:
    record = read(only(swept, "digits/vanilla/*/record.json"))
    others = [replace(record, values=record.values | {"fid": fid}) for fid in (5.0, 6.0, 7.0)]

    def verdict(fid: float, seeds: list[Record] = others) -> str:
        outcome = as_json(replace(record, values=record.values | {"fid": fid}, environment={"python": "4"}))
        return judge_rerun(record, {**outcome, "state_sha256": "x"}, seeds)[0]

    assert [verdict(fid) for fid in (3.1, 8.9, 2.9, 9.1)] == [CLOSE, CLOSE, WRONG, WRONG]
    assert verdict(6.0, others[:2]) == UNKNOWN
    assert TrialSpec.from_identity(record.identity).identity == record.identity
