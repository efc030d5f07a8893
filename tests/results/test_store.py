"""Records are written whole, read only if sound, and never lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ganbench.reporters.report import write_reports
from ganbench.results.records import DamagedRecord, as_json, compose, seal, unseal
from ganbench.results.schema import Outcome, Record, Reference, Status
from ganbench.results.spec import Planned, Protocol, TrialSpec
from ganbench.results.store import Store, read_records
from ganbench.utils import canonical_json, sealed_json
from ganbench.utils.files import StoreError, write_atomic


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


def test_canonical_json_is_one_text_for_one_value() -> None:
    assert canonical_json.dumps({"b": 1.0, "a": [None, "é"]}) == '{"a":[null,"é"],"b":1.0}'
    with pytest.raises(ValueError):
        canonical_json.dumps(float("nan"))


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


def test_a_record_with_a_right_hash_but_a_wrong_shape_is_refused() -> None:
    for key, value in (("status", "perfect"), ("evaluations", {}), ("values", None), ("schema", 99)):
        with pytest.raises(DamagedRecord):
            unseal(sealed_json.seal({**as_json(record(spec())), key: value}))


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


def test_records_of_earlier_code_are_moved_not_lost(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old = spec(source="0" * 64)
    for s in (old, spec(1)):
        store.finish(s, record(s), {})
    assert store.supersede(spec()) == 1 and store.supersede(spec()) == 0
    contents = read_records(tmp_path)
    assert (len(contents.records), contents.superseded) == (1, 1)
    store.finish(old, record(old), {})
    assert store.supersede(spec()) == 1 and read_records(tmp_path).superseded == 2


def test_states(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.state(spec()) == "new"
    store.folder(spec()).mkdir(parents=True)
    (store.folder(spec()) / "checkpoint.safetensors").write_bytes(b"")
    assert store.state(spec()) == "interrupted" and read_records(tmp_path).interrupted == 1
    store.finish(spec(), record(spec(), "error"), {})
    assert store.state(spec()) == "error"


def test_one_sweep_at_a_time(tmp_path: Path) -> None:
    with Store(tmp_path).locked(), pytest.raises(StoreError, match="another ganbench run"), Store(tmp_path).locked():
        pass
    with Store(tmp_path).locked():
        pass


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
