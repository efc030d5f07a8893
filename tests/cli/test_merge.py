"""``ganbench merge``: real records in real folders, and what a stranger's folder may hold."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from ganbench.cli import merge as merging
from ganbench.cli.merge import merge
from ganbench.harness.serialization import fingerprint, save
from ganbench.results import records, rescored, store
from ganbench.results.film import SURFACE, write_frame
from ganbench.results.records import compose, read
from ganbench.results.schema import Outcome, Reference
from ganbench.results.spec import Planned, Protocol, TrialSpec
from ganbench.results.state_digest import stored_digest
from ganbench.results.store import Store, read_records

PROTOCOL = Protocol(640, 64, "cpu", "digits-cnn", "e" * 64, 900, 20)
TENSORS = {
    "half": torch.linspace(0, 1, 5).to(torch.bfloat16),
    "scalar": torch.tensor(3, dtype=torch.int64),
    "flags": torch.tensor([[True, False]]),
    "weights": torch.arange(6.0).reshape(2, 3).t(),
}
STATE = {"parameters": TENSORS, "scalars": {"": {"lr": 1e-3, "beta": float("inf")}}, "memory": (1, [None, "x"])}


def trial(root: Path, seed: int, fid: float = 2.5, **environment: str) -> Path:
    """A finished trial of dcgan with every file that one can have."""
    spec = TrialSpec("dcgan", "ganbench", "a" * 64, {"lr": 0.001}, "digits", "d" * 64, seed, PROTOCOL)
    packages = {"torch": "2.13.0", **environment}
    planned = Planned(spec, "dcgan", "variant", "fid", {"fid": {"label": "FID", "direction": "min"}}, packages, "cpu")
    folder = Store(root).folder(spec)
    (folder / "samples").mkdir(parents=True)
    digest = save(folder / "state.safetensors", STATE)
    ended = Outcome(status="completed", reason=None, values={"fid": fid}, state_sha256=digest, environment=packages)
    record = compose(planned, Reference(trace=25.0, modes=10), {"fid": 0.1}, ended)
    Store(root).finish(spec, record, {"wall_seconds": 1.0})
    (folder / "history.csv").write_text("step,fid\n0,9\n")
    (folder / "samples/640.png").write_bytes(b"picture")
    write_frame(folder, 640, np.zeros((1000, 2)), np.zeros(SURFACE**2))
    (folder / "pictures").mkdir()
    (folder / "pictures/codes.png").write_bytes(b"picture")
    return folder


def rescore(folder: Path, value: float) -> None:
    sha256 = read(folder / "record.json").sha256
    found = rescored.Rescored(record=sha256, metrics={}, values={"kid": value}, environment={})
    (folder / rescored.FILE).write_text(rescored.seal(found))


def files(root: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file() and p.name != ".lock"
    }


def test_the_digest_without_torch_is_the_fingerprint(tmp_path: Path) -> None:
    save(tmp_path / "state", STATE)
    assert stored_digest((tmp_path / "state").read_bytes()) == fingerprint(STATE)
    data = bytearray((tmp_path / "state").read_bytes())
    data[-1] ^= 1
    (tmp_path / "state").write_bytes(data)
    assert stored_digest((tmp_path / "state").read_bytes()) != fingerprint(STATE)
    for text in (b"", b"x" * 100, b"\xff" * 8):
        (tmp_path / "state").write_bytes(text)
        with pytest.raises(ValueError, match="cannot be read"):
            stored_digest((tmp_path / "state").read_bytes())


def test_two_folders_become_one_with_its_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    mine = [trial(a, 0), trial(a, 1)]
    trial(b, 1), trial(b, 2)
    rescore(next(b.glob("*/*/seed-1-*")), 0.5)
    (mine[0] / "log.txt").write_text("a warning")
    assert merge([a, b], c) == 0
    assert "3 trials copied" in capsys.readouterr().out
    assert len(read_records(c).records) == 3 and (c / "leaderboard.csv").exists()
    copied = files(c)
    for path, data in files(a).items():
        assert copied[path] == data
    place = next(c.glob("*/*/seed-1-*"))
    assert read_records(c).records[1].values == {"fid": 2.5, "kid": 0.5}, "what only the second one has is added"
    assert merge([a, b], c) == 0 and files(c) == copied
    assert "0 trials copied" in capsys.readouterr().out
    rescore(mine[1], 0.75)
    assert (
        merge([a], c) == 3 and (place / rescored.FILE).read_bytes() == copied[f"{place.relative_to(c)}/rescored.json"]
    )


def test_two_records_of_one_trial_are_named_with_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    first, other = trial(a, 0), trial(b, 0, fid=2.6, torch="2.14.1")
    trial(b, 1)
    assert merge([a, b], c) == 3
    said = capsys.readouterr().err
    assert str(first) in said and str(other) in said
    assert "environment.torch differs: 2.13.0 and 2.14.1; values.fid differs: 2.5 and 2.6" in said
    assert [path.name[:6] for path in c.glob("*/*/seed-*")] == ["seed-1"], "nothing is written for it"
    assert merge([a], c) == 0 and merge([b], c) == 3
    assert read_records(c).records[0].values == {"fid": 2.5}, "what is there stays"


def test_what_is_damaged_is_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, c = tmp_path / "a", tmp_path / "c"
    edited, state, sound = trial(a, 0), trial(a, 1), trial(a, 2)
    (edited / "record.json").write_text((edited / "record.json").read_text().replace("2.5", "0.5"))
    save(state / "state.safetensors", {"parameters": {}})
    (sound / rescored.FILE).write_text("{}")
    shutil.copytree(sound, sound.with_name("seed-9-" + sound.name[-8:]))
    assert merge([a], c) == 3
    said = capsys.readouterr().err
    assert f"{edited / 'record.json'}: its content does not match its hash" in said
    assert f"{state / 'state.safetensors'}: it is not the state that the record names" in said
    assert f"{sound / rescored.FILE}: its content does not match its hash" in said and "copied or renamed" in said
    assert len(read_records(c).records) == 2 and not list(c.rglob(rescored.FILE))
    assert [path.parent.name[:6] for path in c.rglob("state.safetensors")] == ["seed-2"]


def test_a_state_that_a_crash_left_is_not_copied(tmp_path: Path) -> None:
    a, c = tmp_path / "a", tmp_path / "c"
    folder = trial(a, 0)
    seal = records.seal(replace(read(folder / "record.json"), state_sha256=None, status="crashed", reason="it died"))
    (folder / "record.json").write_text(seal)
    assert merge([a], c) == 0
    assert len(read_records(c).records) == 1 and not list(c.rglob("state.safetensors"))


def test_links_and_odd_files_are_never_followed_or_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    (tmp_path / "secret").write_text("secret")
    folder, linked = trial(a, 0), trial(b, 1)
    for name in ("history.csv", "cost.json"):
        (folder / name).unlink()
    (folder / "history.csv").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "cost.json")
    (folder / "evil.py").write_text("boom")
    (folder / "samples/640.png.exe").write_text("boom")
    (folder / "samples/0.png").symlink_to(tmp_path / "secret")
    (a / "digits/dcgan" / linked.name).symlink_to(linked)
    assert merge([a], c) == 3
    said = capsys.readouterr().err
    assert (
        said.count("is a link") == 3
        and f"{folder / 'cost.json'}: it cannot be read: it is a folder, a pipe or a device" in said
    )
    place = folder.relative_to(a)
    names = {path for path in files(c) if path.startswith("digits")}
    kept = ("film/640.npy", "film/640.surface.png", "pictures/codes.png", "samples/640.png", "state.safetensors")
    assert names == {str(place / name) for name in ("record.json", *kept)}


def test_a_kill_at_any_write_leaves_a_sound_folder_that_the_same_call_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    trial(a, 0), trial(b, 1)
    whole = tmp_path / "whole"
    assert merge([a, b], whole) == 0
    writes = 0

    class Killed(BaseException):
        pass

    def count(path: Path, data: bytes) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            path.with_name(f".{path.name}.1.tmp").write_bytes(data[: len(data) // 2])
            raise Killed
        store.write_atomic(path, data)

    monkeypatch.setattr(merging, "write_atomic", count)
    for writes in range(20):
        left, into = writes, tmp_path / f"killed-{writes}"
        try:
            merge([a, b], into)
        except Killed:
            assert not read_records(into).problems
            left = 1000
            assert merge([a, b], into) == 0
            assert files(into) == files(whole)
        else:
            break
    assert writes == 2 * 8


def test_a_damaged_record_and_an_unfinished_trial_give_way(tmp_path: Path) -> None:
    a, c = tmp_path / "a", tmp_path / "c"
    trial(a, 0), trial(a, 1)
    damaged, unfinished = trial(c, 0), trial(c, 1)
    (damaged / "record.json").write_text("{}")
    (unfinished / "record.json").unlink()
    (unfinished / "checkpoint.safetensors").write_bytes(b"")
    (unfinished / "history.csv").write_text("half")
    assert merge([a], c) == 0
    assert len(read_records(c).records) == 2 and (c / "quarantine").is_dir()
    assert (unfinished / "history.csv").read_text() == "step,fid\n0,9\n"
    assert not (unfinished / "checkpoint.safetensors").exists()


def swap(monkeypatch: pytest.MonkeyPatch, path: Path, change) -> None:
    """Call ``change`` once, directly after the content of ``path`` was read by ``merge`` for the last time."""
    real, reads = merging.read_plain, []

    def read_plain(where: Path, most: int) -> bytes:
        data = real(where, most)
        if where == path:
            reads.append(where)
            if len(reads) == (2 if path.name == "record.json" else 1):  # a record is read when it is found, too
                change()
        return data

    monkeypatch.setattr(merging, "read_plain", read_plain)


@pytest.mark.parametrize("name", ["record.json", "state.safetensors"])
@pytest.mark.parametrize("how", ["edited", "truncated", "link", "pipe", "gone"])
def test_the_bytes_that_were_verified_are_the_bytes_that_are_written(
    name: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = trial(tmp_path / "a", 0) / name
    verified, other = path.read_bytes(), tmp_path / "other"
    other.write_bytes(b"other")

    def change() -> None:
        path.unlink()
        if how in ("edited", "truncated"):
            path.write_bytes(b"{}" if how == "edited" else verified[: len(verified) // 2])
        elif how == "link":
            path.symlink_to(other)
        elif how == "pipe":
            os.mkfifo(path)

    swap(monkeypatch, path, change)
    assert merge([tmp_path / "a"], tmp_path / "into") == 0
    assert (tmp_path / "into" / path.relative_to(tmp_path / "a")).read_bytes() == verified


def test_a_record_that_changes_after_it_was_found_is_left_out(tmp_path: Path, monkeypatch, capsys) -> None:
    path, sound = trial(tmp_path / "a", 0) / "record.json", trial(tmp_path / "a", 1)
    real, reads = merging.read_plain, []

    def read_plain(where: Path, most: int) -> bytes:
        reads.append(where)
        return b"{}" if where == path and reads.count(path) == 2 else real(where, most)

    monkeypatch.setattr(merging, "read_plain", read_plain)
    assert merge([tmp_path / "a"], tmp_path / "into") == 3
    assert [record.identity.folder for record in read_records(tmp_path / "into").records] == [
        sound.relative_to(tmp_path / "a")
    ]
    assert "changed meanwhile" in capsys.readouterr().err


def test_wrong_use(tmp_path: Path, here) -> None:
    a = tmp_path / "a"
    trial(a, 0)
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        (("a", "--into", "a"), "is the folder to merge into"),
        (("empty", "--into", "c"), "there are no records in empty"),
        (("nowhere", "--into", "c"), "nowhere"),
        (("a",), "--into"),
    ):
        result = here("merge", *arguments)
        assert result.returncode == 2 and message in result.stderr and "Traceback" not in result.stderr
    with Store(tmp_path / "c").locked():
        busy = here("merge", "a", "--into", "c")
    assert busy.returncode == 3 and "another ganbench run is using c" in busy.stderr
    done = here("merge", "a", "--into", "c")
    assert done.returncode == 0 and "dcgan" in done.stdout, done.stderr
