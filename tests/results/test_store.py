"""Records are written whole, read only if sound, and never lost."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ganbench.reporters.report import write_reports
from ganbench.results import store as store_module
from ganbench.results.records import DamagedRecord, columns, compose, seal, unseal
from ganbench.results.schema import Nonfinite, Outcome, Record, Reference, Status, Telemetry
from ganbench.results.spec import Planned, Protocol, TrialSpec
from ganbench.results.store import Store, locate, read_records
from ganbench.utils import canonical_json
from ganbench.utils.errors import UsageError
from ganbench.utils.files import StoreError, write_atomic, write_output


def spec(seed: int = 0, source: str = "a" * 64, **protocol) -> TrialSpec:
    shared = {
        "budget_images": 640,
        "batch_size": 64,
        "device": "cpu",
        "extractor": "digits-cnn",
        "extractor_hash": "e" * 64,
        "samples": 900,
        "evaluations": 20,
    }
    return TrialSpec(
        "dcgan", "ganbench", source, {"lr": 0.001}, "digits", "d" * 64, seed, Protocol(**{**shared, **protocol})
    )


def record(of: TrialSpec, status: Status = "completed") -> Record:
    planned = Planned(
        of, "dcgan", "variant", "fid", {"fid": {"label": "FID", "direction": "min"}}, {"python": "3"}, "cpu"
    )
    outcome = Outcome(status=status, reason=None, values={"fid": 2.5})
    return compose(planned, Reference(trace=25.0, modes=10), {"fid": 0.1}, outcome)


def test_the_trial_hash_covers_what_makes_weights_and_the_evaluation_hash_what_makes_numbers() -> None:
    base = spec().identity
    for change in ({"budget_images": 641}, {"batch_size": 32}, {"precision": "bf16"}, {"engine": "seeds"}):
        other = spec(**change).identity
        assert other.trial_hash != base.trial_hash and other.evaluation_hash == base.evaluation_hash
        assert other.protocol != base.protocol
    for change in (
        {"extractor": "x"},
        {"extractor_hash": "f" * 64},
        {"samples": 100},
        {"evaluations": 5},
        {"split": "train"},
    ):
        other = spec(**change).identity
        assert other.trial_hash == base.trial_hash and other.evaluation_hash != base.evaluation_hash
        assert other.protocol != base.protocol and other.id != base.id
    assert spec(device="cuda").identity.trial_hash != base.trial_hash
    assert spec(1).identity.protocol == base.protocol == spec(source="b" * 64).identity.protocol
    assert TrialSpec.from_payload(json.loads(json.dumps(spec().payload()))) == spec()


def test_a_record_reads_back_and_every_edit_is_noticed() -> None:
    text = seal(record(spec()))
    assert unseal(text).values == {"fid": 2.5} and seal(unseal(text)) == text
    for edited in (
        text.replace("2.5", "1.5"),
        text.replace('"dcgan"', '"dcgam"'),
        text[:-40],
        text[:-1],
        text[:-1] + " ",
        text + " ",
        "{}",
        "[1]",
        "",
        text.replace('"schema":1', '"schema":2'),
        "[" * 100_000,
        '{"schema":NaN}',
        '{"schema":' + "9" * 5000 + "}",
    ):
        with pytest.raises(DamagedRecord):
            unseal(edited)


def sealed(text: str) -> str:
    """A record's text, changed, with the hash that belongs to it."""
    content = re.sub(r',"sha256":"[0-9a-f]{64}"', "", text).rstrip("\n")
    digest = hashlib.sha256(content.encode()).hexdigest()
    place = text.index(',"sha256"')
    return f'{text[:place]},"sha256":"{digest}"{content[place:]}\n'


def test_a_right_hash_makes_no_record_of_another_schema_or_of_half_a_character() -> None:
    text = seal(record(spec()))
    assert sealed(text) == text
    start = text.rindex('"schema":1')
    for schema in ("0", "2", "true", "1.0", '"1"'):
        with pytest.raises(DamagedRecord, match="schema"):
            unseal(sealed(f'{text[:start]}"schema":{schema}{text[start + len(chr(34) + "schema" + chr(34) + ":1") :]}'))
    assert unseal(sealed(text.replace('"label":"dcgan"', '"label":"\\u00e9"')))
    with pytest.raises(DamagedRecord):
        unseal(sealed(text.replace('"label":"dcgan"', '"label":"\\ud800"')))


def test_a_record_has_what_the_trial_found_and_none_for_what_it_did_not() -> None:
    metrics = {name: {"label": name.upper(), "direction": "min"} for name in ("fid", "prd")}
    planned = Planned(spec(), "dcgan", "variant", "fid", metrics, {"python": "3"}, "cpu")
    outcome = Outcome(
        status="diverged",
        reason="loss is not finite",
        environment={"python": "4"},
        values={"prd": 0.5, "prd.f8": 0.25},
        telemetry=Telemetry(updates={"generator": 3}),
        first_nonfinite=Nonfinite(step=3, what="loss"),
    )
    reference = Reference(trace=25.0)
    found = unseal(seal(compose(planned, reference, {"prd": 0.9, "prd.f8": 0.8}, outcome)))
    assert (found.status, found.reason) == ("diverged", "loss is not finite")
    assert found.environment == {"python": "4"}
    assert found.environment_hash == canonical_json.sha256({"python": "4"})
    assert found.values == {"fid": None, "prd": 0.5, "prd.f8": 0.25}
    assert found.telemetry is not None and found.telemetry.first_nonfinite == Nonfinite(step=3, what="loss")
    crashed = unseal(seal(compose(planned, reference, {}, Outcome(status="crashed", reason="gone"))))
    assert crashed.environment == {"python": "3"} and crashed.values == {"fid": None, "prd": None}


def test_a_metric_has_a_column_for_each_of_its_numbers() -> None:
    metrics = {name: {"label": name.upper(), "direction": "max"} for name in ("prd", "prdx")}
    found = columns(metrics, {"prd": 1.0, "prd.f8": 1.0, "prdx": 1.0}, {"prd": 0.9, "prd.f8": 0.8}, first=7)
    assert [(name, c.label, c.floor, c.position) for name, c in found.items()] == [
        ("prd", "PRD", 0.9, 7),
        ("prd.f8", "PRD f8", 0.8, 8),
        ("prdx", "PRDX", None, 9),
    ]


def test_records_are_read_in_the_order_of_their_paths(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for seed in (10, 2, 1, 0):
        store.finish(spec(seed), record(spec(seed)), {})
    assert [r.identity.trial.seed for r in read_records(tmp_path).records] == [0, 1, 10, 2]


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_a_folder_that_may_not_be_read_is_named(depth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.finish(spec(), record(spec()), {})
    folder = store.folder(spec())
    closed = [tmp_path, folder.parents[1], folder.parent, folder][depth]
    iterdir, lstat = Path.iterdir, Path.lstat

    def refused(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", lambda path: refused(path) if path == closed else iterdir(path))
    monkeypatch.setattr(Path, "lstat", lambda path: refused(path) if path.parent == closed == folder else lstat(path))
    contents = read_records(tmp_path)
    named = folder / "record.json" if depth == 3 else closed
    assert not contents.records and [problem.path for problem in contents.problems] == [named]
    assert "change the permissions" in contents.problems[0].reason and not contents.problems[0].remedy


def test_a_damaged_rescoring_is_named_and_leaves_its_record_as_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.finish(spec(), record(spec()), {})
    damaged = store.folder(spec()) / "rescored.json"
    damaged.write_text("{}")
    contents = read_records(tmp_path)
    assert [p.path for p in contents.problems] == [damaged] and contents.records[0].values == {"fid": 2.5}


def test_finished_trials_are_found_and_damaged_ones_set_aside(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for seed in range(3):
        store.folder(spec(seed)).mkdir(parents=True)
        (store.folder(spec(seed)) / "progress.jsonl").write_text("")
        store.finish(spec(seed), record(spec(seed)), {"wall_seconds": 1.0})
    assert sorted(p.name for p in store.folder(spec(0)).iterdir()) == ["cost.json", "record.json"]
    damaged = store.folder(spec(1)) / "record.json"
    damaged.write_text(damaged.read_text().replace("2.5", "0.5"))
    contents = read_records(tmp_path)
    assert len(contents.records) == 2 and [p.path for p in contents.problems] == [damaged]
    assert store.find(spec(0)) is not None and store.find(spec(1)) is None and store.find(spec(7)) is None
    assert (tmp_path / "quarantine/digits/dcgan" / damaged.parent.name / "record.json").exists()
    assert read_records(tmp_path).problems == []


def test_a_copied_folder_is_not_counted_twice(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.finish(spec(), record(spec()), {})
    twin = store.folder(spec()).with_name("seed-9-" + spec().id)
    twin.mkdir()
    (twin / "record.json").write_bytes((store.folder(spec()) / "record.json").read_bytes())
    contents = read_records(tmp_path)
    assert len(contents.records) == 1 and "copied or renamed" in contents.problems[0].reason


def test_the_record_of_another_trial_is_set_aside(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.finish(spec(0), record(spec(0)), {})
    store.folder(spec(1)).mkdir()
    shutil.copy(store.folder(spec(0)) / "record.json", store.folder(spec(1)))
    assert store.find(spec(1)) is None and not store.folder(spec(1)).exists()
    assert (tmp_path / "quarantine" / store.folder(spec(1)).relative_to(tmp_path)).exists()


def test_only_records_of_the_same_variant_by_other_code_are_superseded(tmp_path: Path) -> None:
    store = Store(tmp_path)
    tuned = replace(spec(source="0" * 64), hyperparameters={"lr": 0.002})
    elsewhere = replace(spec(1), distribution="somebody-elses-fork")
    for s in (tuned, elsewhere, spec(2)):
        store.finish(s, record(s), {})
    assert store.supersede([spec()]) == [1]
    assert [store.state(s) for s in (tuned, elsewhere, spec(2))] == ["completed", "new", "completed"]


def test_records_of_earlier_code_are_moved_not_lost(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old = spec(source="0" * 64)
    for s in (old, spec(1)):
        store.finish(s, record(s), {})
    assert store.supersede([spec()]) == [1] and store.supersede([spec()]) == [0]
    contents = read_records(tmp_path)
    assert (len(contents.records), contents.superseded) == (1, 1)
    store.finish(old, record(old), {})
    assert store.supersede([spec()]) == [1] and read_records(tmp_path).superseded == 2


def test_records_of_earlier_code_are_looked_for_in_one_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    settings = [{"lr": i / 1000} for i in range(1, 9)]
    for values in settings:
        old = replace(spec(source="0" * 64), hyperparameters=values)
        store.finish(old, record(old), {})
    read: list[Path] = []
    real = store_module.read_plain
    monkeypatch.setattr(store_module, "read_plain", lambda path, most: read.append(path) or real(path, most))
    new = [replace(spec(seed), hyperparameters=values) for values in settings[:6] for seed in (0, 1)]
    assert store.supersede(new) == [1, 0] * 6
    assert len(read) == len(settings) == len(set(read))
    assert len(read_records(tmp_path).records) == 2  # settings that the sweep does not have


def test_states(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.state(spec()) == "new"
    store.folder(spec()).mkdir(parents=True)
    (store.folder(spec()) / "checkpoint.safetensors").write_bytes(b"")
    assert store.state(spec()) == "interrupted" and read_records(tmp_path).interrupted == 1
    store.finish(spec(), record(spec(), "error"), {})
    assert store.state(spec()) == "error"
    (store.folder(spec()) / "record.json").write_text("{}")
    assert store.state(spec()) == "damaged" and store.folder(spec()).exists()


def test_a_trial_is_named_by_its_folder_or_its_id(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.finish(spec(), record(spec()), {})
    folder = store.folder(spec())
    assert locate(str(folder), tmp_path) == locate(spec().id, tmp_path) == folder
    with pytest.raises(UsageError, match="is a results folder"):
        locate(str(tmp_path), tmp_path)
    with pytest.raises(UsageError, match="0 trials in"):
        locate("00000000", tmp_path)
    shutil.copytree(folder, folder.with_name(f"seed-9-{spec().id}"))
    with pytest.raises(UsageError, match="2 trials in"):
        locate(spec().id, tmp_path)


def test_one_sweep_at_a_time(tmp_path: Path) -> None:
    with Store(tmp_path).locked(), pytest.raises(StoreError, match="another ganbench run"), Store(tmp_path).locked():
        pass
    with Store(tmp_path).locked():
        pass


def test_what_a_kill_left_half_written_is_removed_by_the_next_sweep(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / ".page.html.1.tmp"
    for results, linked in ((tmp_path / "one", False), (tmp_path / "two", True)):
        left = [results / ".leaderboard.csv.1.tmp", results / "trials" / ".page.html.1.tmp", results / ".mine.tmp"]
        elsewhere.parent.mkdir(exist_ok=True)
        results.mkdir()
        (results / "trials").symlink_to(elsewhere.parent) if linked else (results / "trials").mkdir()
        for path in left:
            path.write_text("")
        with Store(results).locked():
            assert [path.exists() for path in left] == [False, linked, True]
    assert elsewhere.exists()  # nothing is removed through a link


def test_nothing_is_written_or_emptied_through_a_link(tmp_path: Path) -> None:
    outside, results = tmp_path / "outside", tmp_path / "results"
    outside.mkdir()
    (outside / "precious").write_text("keep")
    store = Store(results)
    place = store.prepare(spec())
    (place / "progress.jsonl").symlink_to(outside / "precious")
    assert not os.path.lexists(store.prepare(spec()) / "progress.jsonl")
    (place / "log.txt").mkdir()
    with pytest.raises(StoreError, match="is a folder where a file belongs"):
        store.prepare(spec())
    shutil.rmtree(results / "digits")
    (results / "digits").symlink_to(outside)
    for step in (store.folder, store.prepare, store.find, store.state):
        with pytest.raises(StoreError, match="leads out of"):
            step(spec())
    (results / ".lock").symlink_to(outside / "precious")
    with pytest.raises(StoreError, match=r"\.lock: it is a link"), store.locked():
        pass
    assert (outside / "precious").read_text() == "keep" and len(list(outside.iterdir())) == 1


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synced and renamed, in that order."""
    found: list[str] = []
    fsync, move = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        found.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        fsync(descriptor)

    def renamed(source: Path, target: Path) -> None:
        found.append(f"name {Path(target).name}")
        move(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks Linux what a descriptor is")
def test_a_file_is_on_the_disk_before_it_has_its_name_and_its_name_after(tmp_path: Path, steps: list[str]) -> None:
    write_atomic(tmp_path / "f", b"new")
    assert steps == [f"sync .f.{os.getpid()}.tmp", "name f", f"sync {tmp_path.name}"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks Linux what a descriptor is")
def test_the_record_is_the_last_of_a_trials_files(tmp_path: Path, steps: list[str]) -> None:
    store = Store(tmp_path / "results", tmp_path / "shared")
    place = store.prepare(spec())
    for name in ("history.csv", "record.json", "cost.json", ".hidden"):  # a plugin may write what it likes
        (place / name).write_text("forged")
    store.finish(spec(), record(spec()), {})
    assert [step for step in steps if "name" in step] == ["name history.csv", "name cost.json", "name record.json"]
    assert not (store.folder(spec()) / ".hidden").exists()


def test_what_a_user_named_is_written_where_a_link_leads_and_into_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("page.html")
    for content in (b"one", b"two"):
        write_output(tmp_path / "link", content)
        assert (tmp_path / "link").is_symlink() and (tmp_path / "page.html").read_bytes() == content
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor() as threads:
        read = threads.submit((tmp_path / "pipe").read_bytes)
        write_output(tmp_path / "pipe", b"three")
        assert read.result(10) == b"three" and (tmp_path / "pipe").is_fifo()


def test_a_stale_temporary_file_or_link_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / f".f.{os.getpid()}.tmp").symlink_to(tmp_path / "elsewhere")
    write_atomic(tmp_path / "f", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_finished_trial_has_nothing_half_written_in_its_folders(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (store.prepare(spec()) / "samples").mkdir()
    (store.folder(spec()) / "samples" / ".640.png.1.tmp").write_text("half")
    store.finish(spec(), record(spec()), {})
    assert list((store.folder(spec()) / "samples").iterdir()) == []


def test_a_trial_is_forgotten_record_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.finish(spec(), record(spec(), "error"), {})

    def refuse(folder: Path) -> None:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(StoreError, match="busy"):
        store.discard(spec())
    assert [path.name for path in store.folder(spec()).iterdir()] == ["cost.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    write_atomic(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(StoreError, match="another folder"), Store(tmp_path / "results").locked():
        pass


def test_what_a_trial_wrote_elsewhere_is_fetched_once_it_has_ended(tmp_path: Path) -> None:
    root, work = tmp_path / "results", tmp_path / "shared"
    store = Store(root, work)
    with store.locked():
        place = store.prepare(spec())
        assert place == store.workplace(spec()) and place.is_relative_to(work) and not store.folder(spec()).exists()
        (place / "samples").mkdir()
        for name in ("history.csv", "samples/640.png", "checkpoint.safetensors", "progress.jsonl", ".hidden.tmp"):
            (place / name).write_text(name)
        (place / "link").symlink_to("/etc/hostname")
        assert store.state(spec()) == "interrupted" and store.find(spec()) is None
        with pytest.raises(StoreError, match="another ganbench run"), Store(tmp_path / "other", work).locked():
            pass
        store.finish(spec(), record(spec()), {"attempts": 1})
    found = sorted(str(path.relative_to(store.folder(spec()))) for path in store.folder(spec()).rglob("*"))
    assert found == ["cost.json", "history.csv", "record.json", "samples", "samples/640.png"]
    assert (store.folder(spec()) / "samples/640.png").read_text() == "samples/640.png"
    assert not place.exists() and store.state(spec()) == "completed" == read_records(root).records[0].status


def test_a_trial_that_is_forgotten_is_forgotten_in_both_places(tmp_path: Path) -> None:
    store = Store(tmp_path / "results", tmp_path / "shared")
    store.prepare(spec())
    store.finish(spec(), record(spec(), "error"), {})
    (store.prepare(spec()) / "checkpoint.safetensors").write_text("of an attempt that came later")
    store.discard(spec())
    assert store.state(spec()) == "new" and not store.workplace(spec()).exists()


def test_a_storage_is_named_by_its_own_option_and_may_be_the_results_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for work in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match="--storage"), Store(tmp_path / "results", work).locked():
            pass
    same = Store(tmp_path / "results", tmp_path / "results" / ".." / "results")
    with same.locked():
        assert same.prepare(spec()) == same.folder(spec()) and same.work is None


def test_what_is_unfinished_in_a_storage_counts_as_interrupted(tmp_path: Path) -> None:
    root, work = tmp_path / "results", tmp_path / "shared"
    store = Store(root, work)
    for seed in range(3):
        (store.prepare(spec(seed)) / "checkpoint.safetensors").write_text("")
    store.finish(spec(0), record(spec(0)), {})
    (store.prepare(spec(0)) / "progress.jsonl").write_text("")  # a kill came before the storage was tidied
    assert write_reports(root, ["csv"]).contents.interrupted == 0
    assert write_reports(root, ["csv"], work).contents.interrupted == 2
    assert write_reports(work, ["csv"], work).contents.interrupted == 3


def test_an_id_means_a_trial_although_a_folder_has_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trial = tmp_path / "results" / "digits" / "dcgan" / "seed-0-0badcafe"
    trial.mkdir(parents=True)
    for name in ("0badcafe", "12345678"):
        (tmp_path / name).mkdir()
    told = []
    assert locate("0badcafe", Path("results"), told.append).absolute() == trial
    assert told == ["0badcafe is the id of a trial in results; the folder of that name is ./0badcafe"]
    assert locate("./0badcafe", Path("results"), told.append) == Path("0badcafe")
    assert locate("12345678", Path("results"), told.append) == Path("12345678") and len(told) == 1
