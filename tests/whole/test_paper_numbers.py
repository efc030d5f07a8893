"""A published protocol by one word: docs/paper-numbers.md with a small CIFAR-10 and Inception of random weights."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from ganbench.analysis.comparison import compare
from ganbench.analysis.trials_csv import read_trials
from ganbench.datasets import cifar
from ganbench.reporters.comparison_page import to_page
from ganbench.reporters.notebook import load_results
from ganbench.reporters.report import write_reports
from ganbench.reporters.terminal import show
from ganbench.results.presets import PRESETS, Preset

# The command with a CIFAR-10 of 20 and 4 images, and as many samples.
COMMAND = """
import dataclasses, sys
from ganbench.cli import main
from ganbench.datasets import cifar
from ganbench.plugin.hookspecs import hookimpl
from ganbench.results.presets import PRESETS

sums = {cifar.ARCHIVE: sys.argv.pop(1)}
small = cifar.Cifar(name="cifar10", budget_images=64, sums=sums, mirrors=(), batch=4)
cifar.ganbench_datasets = hookimpl(lambda: [small])
PRESETS["paper-cifar10"] = dataclasses.replace(PRESETS["paper-cifar10"], samples=20, images=64, curve_samples=8)
main()
"""


def archive() -> bytes:
    rng = np.random.default_rng(0)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as file:
        for name in (*cifar.BATCHES["train"], *cifar.BATCHES["test"]):
            images = rng.integers(0, 256, (4, 3 * 32 * 32)) // rng.integers(1, 6, (4, 1))
            content = np.hstack([np.arange(4)[:, None], images]).astype(np.uint8).tobytes()
            info = tarfile.TarInfo(f"{cifar.FOLDER}/{name}")
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return out.getvalue()


def inception(path: Path) -> None:
    """Random weights of the network in torch-fidelity's layout."""
    from torch_fidelity import feature_extractor_inceptionv3 as module

    class Untrained(module.FeatureExtractorInceptionV3):
        def load_state_dict(self, *arguments: Any, **named: Any) -> None:
            """Keep what the constructor drew."""

    torch.save({}, path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Untrained("inception-v3-compat", ["2048"], str(path))
        for part in network.modules():
            if isinstance(part, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(part.weight)
    torch.save(network.state_dict(), path)


def test_the_page_from_nothing_to_a_number_with_random_weights(tmp_path: Path) -> None:
    data = archive()
    (tmp_path / cifar.ARCHIVE).write_bytes(data)
    inception(tmp_path / "inception.pth")
    environment = {**os.environ, "GANBENCH_DATA": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        start = [sys.executable, "-c", COMMAND, hashlib.sha256(data).hexdigest()]
        done = subprocess.run([*start, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done

    run = ("run", "-p", "noise", "--protocol", "paper-cifar10", "--weights", "inception.pth", "--executor", "inline")
    done = command(*run, "--seeds", "1", "--evaluations", "1")
    assert "--samples 20 --reference train --images 64 --curve-samples 8 --metrics fid,is,kid" in done.stderr
    (folder,) = (tmp_path / "ganbench-results").glob("cifar10/noise/seed-0-*")
    record = json.loads((folder / "record.json").read_text())
    evaluation, trial = record["identity"]["evaluation"], record["identity"]["trial"]
    assert (evaluation["split"], evaluation["samples"], trial["budget_images"]) == ("train", 20, 64)
    assert set(record["metrics"]) == {"fid", "is", "kid"} and record["reference"]["real"] == 20
    assert record["metrics"]["fid"]["floor"] > 0, "held-out images stand in for samples: training ones are the same"
    own = evaluation["extractor"]
    assert own.startswith("inception-v3@") and "against the train split" in done.stdout
    assert f"{own} has not the weights of --protocol paper-cifar10" in done.stderr
    assert "(paper-cifar10)" not in done.stdout

    command("sample", str(folder), "--n", "20", "--out", "fakes/", "--executor", "inline")
    assert len(list((tmp_path / "fakes").glob("*.png"))) == 20
    scored = command(
        *("score", "--real", "cifar10:train", "--fake", "fakes", "--n", "20", "--metrics", "fid", "--json"),
        *("--extractor", "inception-v3", "--weights", "inception.pth"),
    )
    assert json.loads(scored.stdout)["metrics"]["fid"]["value"] == record["values"]["fid"]


def test_tables_name_a_preset_however_it_was_asked_for(
    ganbench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, formats = tmp_path / "ganbench-results", ("csv", "md", "latex", "html")
    small = ("--images", "64", "--evaluations", "1", "--seeds", "1", "-m", "fid")
    for samples in ("100", "90"):
        done = ganbench("run", "-p", "vanilla", *small, "--samples", samples)
        assert done.returncode == 0, done.stderr
    write_reports(folder, formats)
    assert "preset" not in (folder / "leaderboard.csv").read_text() + (folder / "trials.csv").read_text()

    own = Preset(
        about="", dataset="digits", extractors=("digits-cnn",), samples=100, reference="test", metrics=("fid",)
    )
    monkeypatch.setitem(PRESETS, "fid10k", own)
    _, report = write_reports(folder, formats)
    names = {"100": "fid10k", "90": ""}
    trials = pd.read_csv(folder / "trials.csv", keep_default_na=False)
    presets = {names[str(row.protocol_samples)]: row.protocol for row in trials.itertuples()}
    for name in ("leaderboard", "trials"):
        table = pd.read_csv(folder / f"{name}.csv", keep_default_na=False)
        assert dict(zip(table["preset"], table["protocol"], strict=True)) == presets
    show(report)
    texts = [(folder / f"leaderboard.{end}").read_text() for end in ("md", "tex", "html")]
    for text in (*texts, capsys.readouterr().out):
        assert f"Protocol {presets['fid10k']} (fid10k): 64 training" in text
        assert f"Protocol {presets['']}: 64 training" in text

    frames = read_trials(folder / "trials.csv"), load_results(folder)
    compared = compare(*frames)
    assert dict(zip(compared["preset"], compared["protocol"], strict=True)) == presets
    assert f"<small>{presets['fid10k']} (fid10k)</small>" in to_page(compared, *frames, ("a", "b"), [])


def test_reference_train_is_another_protocol_of_the_same_weights(ganbench: Any, tmp_path: Path) -> None:
    small = ("--images", "640", "--evaluations", "2", "--samples", "100", "--seeds", "1", "-m", "fid,fld,d_auc")
    for extra in ((), ("--reference", "train")):
        assert ganbench("run", "-p", "vanilla", "-d", "digits", *small, *extra).returncode == 0
    found = [json.loads(path.read_text()) for path in (tmp_path / "ganbench-results").glob("digits/*/*/record.json")]
    by_split = {record["identity"]["evaluation"]["split"]: record for record in found}
    held, train = by_split["test"], by_split["train"]
    assert held["identity"]["trial_hash"] == train["identity"]["trial_hash"]
    assert held["state_sha256"] == train["state_sha256"], "how it is scored changes no weight"
    assert held["identity"]["protocol"] != train["identity"]["protocol"]
    assert train["values"]["fid"] == train["evaluations"][-1]["fid_train"] == held["evaluations"][-1]["fid_train"]
    assert held["values"]["fld"] is not None and train["values"]["fld"] is None, "it compares with held-out samples"
    assert train["values"]["d_auc"] == held["values"]["d_auc"]
    id = train["identity"]["id"]
    assert (
        "--reference train" in ganbench("show", id).stdout
        and "--reference" not in ganbench("show", held["identity"]["id"]).stdout
    )
    assert ganbench("rescore", "ganbench-results", "--metrics", "fid").returncode == 0
    for path in (tmp_path / "ganbench-results").rglob("rescored.json"):
        record = json.loads((path.parent / "record.json").read_text())
        assert json.loads(path.read_text())["values"]["fid"] == record["values"]["fid"]
    done = ganbench("verify", "ganbench-results", "--rerun", "2")
    assert done.returncode == 0, done.stdout + done.stderr
