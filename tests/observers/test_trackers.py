"""Trials in MLflow, Weights & Biases and TensorBoard as their own programs read them."""

from __future__ import annotations

import importlib
import json
import shutil
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ganbench.results.film import write_frame

pytestmark = pytest.mark.filterwarnings("ignore")  # those packages' own


@pytest.fixture
def trial(fifteen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], str]:
    """A record and its folder, with samples and a film; the current folder is empty."""
    place = next(fifteen.glob("digits/dcgan/seed-0-*"))
    copy = Path(shutil.copytree(place, tmp_path / "results" / place.name))
    record = json.loads((copy / "record.json").read_text())
    for entry in record["evaluations"]:
        write_frame(copy, entry["images_seen"], np.full((64, 1, 8, 8), 9, dtype=np.uint8))
    (copy / "samples").mkdir(exist_ok=True)
    last = f"{record['identity']['trial']['budget_images']}.png"
    shutil.copy(copy / "film" / last, copy / "samples" / last)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return record, str(copy)


def fresh(name: str) -> ModuleType:
    return importlib.reload(importlib.import_module(f"ganbench.observers.{name}"))


def tell(observer: ModuleType, record: dict[str, Any], folder: str) -> None:
    for evaluation in record["evaluations"]:
        observer.ganbench_evaluated(record["identity"]["trial"], evaluation)
    observer.ganbench_finished(record, folder)


def leveldb_log(content: bytes) -> Iterator[bytes]:
    """The records of a file in the format of LevelDB's log, behind a header of 7 bytes: blocks of 32 KiB, in which each
    part has a checksum, a length and a kind: whole, first, middle, last.
    """
    place, parts = 7, b""
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield parts
            parts = b""


def test_mlflow_has_settings_curves_verdict_pictures_and_film(trial, tmp_path, monkeypatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/work/mlflow.db")
    record, folder = trial
    observer = fresh("mlflow")
    tell(observer, record, folder)
    assert not observer._runs
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("ganbench digits")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED" and run.info.run_name.startswith("dcgan seed-0-")
    budget = record["identity"]["trial"]["budget_images"]
    assert run.data.params["images"] == str(budget) and run.data.params["latent_dim"] == "64"
    assert run.data.tags["verdict"] == "stable" and run.data.tags["status"] == "completed"
    assert run.data.metrics["final/fid"] == pytest.approx(record["values"]["fid"])
    course = client.get_metric_history(run.info.run_id, "metrics/fid")
    expected = [(e["images_seen"], e["values"]["fid"]) for e in record["evaluations"]]
    assert [(point.step, point.value) for point in course] == expected
    assert {"losses/generator", "discriminator/d_auc"} <= set(run.data.metrics)
    files = {Path(item.path).name for item in client.list_artifacts(run.info.run_id, "pictures")}
    assert {"samples.png", "film.gif"} <= files


def test_wandb_has_settings_curves_verdict_and_film(trial, tmp_path, monkeypatch) -> None:
    wandb = pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    record, folder = trial
    observer = fresh("wandb")
    tell(observer, record, folder)
    assert not observer._runs
    (path,) = Path("wandb").glob("offline-run-*/run-*.wandb")
    for _ in range(300):  # on busy cores finish() may return before wandb's own process has written its last rows
        entries = [wandb_internal_pb2.Record.FromString(data) for data in leveldb_log(path.read_bytes())]
        if any(entry.HasField("exit") for entry in entries):
            break
        time.sleep(0.2)
    rows, summary = [], {}
    for entry in entries:
        rows += [{item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in entry.history.item}]
        for item in entry.summary.update:
            summary[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
        if entry.run.run_id:
            group = entry.run.run_group
            config = {item.key: json.loads(item.value_json) for item in entry.run.config.update}
    assert group == "digits dcgan" and config["latent_dim"] == 64 and config["seed"] == 0
    fids = [row["metrics/fid"] for row in rows if "metrics/fid" in row]
    assert fids == pytest.approx([entry["values"]["fid"] for entry in record["evaluations"]])
    assert summary["verdict"] == "stable" and summary["final/fid"] == pytest.approx(record["values"]["fid"])
    assert any(name.startswith("pictures/film") for row in rows for name in row)
    assert list(path.parent.glob("files/media/videos/**/*.gif"))
    assert wandb.run is None


def test_tensorboard_has_verdict_pictures_and_film(trial, monkeypatch) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    record, folder = trial
    observer = fresh("tensorboard")
    tell(observer, record, folder)
    (events,) = Path("runs/digits/dcgan").glob("seed-0-*")
    found = accumulator.EventAccumulator(str(events), size_guidance={accumulator.IMAGES: 0})
    found.Reload()
    assert {"pictures/samples", "pictures/film"} <= set(found.Tags()["images"])
    assert found.Images("pictures/film")[0].encoded_image_string.startswith(b"GIF8")
    (text,) = found.Tensors("verdict")
    assert b"verdict: stable" in text.tensor_proto.string_val[0]


def test_a_failed_trial_without_evaluations_is_told_too(trial, tmp_path, monkeypatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/work/mlflow.db")
    record, folder = trial
    lost = {"status": "error", "reason": "ValueError: no", "evaluations": [], "values": {}, "telemetry": None}
    shutil.rmtree(folder)
    Path(folder).mkdir()
    observer = fresh("mlflow")
    observer.ganbench_finished({**record, **lost, "state_sha256": None, "fid_train": None}, folder)
    (run,) = mlflow.MlflowClient().search_runs(["1"])
    assert run.info.status == "FAILED" and run.data.tags["reason"] == "ValueError: no"


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_without_the_package_the_observer_says_what_to_install(trial, monkeypatch, name) -> None:
    record, _ = trial
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"pip install 'ganbench\[{name}\]'"):
        fresh(name).ganbench_evaluated(record["identity"]["trial"], record["evaluations"][0])
