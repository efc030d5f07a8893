"""``ganbench show`` and ``ganbench sample``: one trial on the terminal, and what it draws."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image

from ganbench.cli.sample import sample
from ganbench.cli.show import show_trial, sparkline
from ganbench.reporters.trial_page import command
from ganbench.results.records import read
from ganbench.results.store import locate
from ganbench.utils.errors import UsageError

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
DCGAN = sorted(REFERENCE.glob("digits/dcgan/seed-0-*"))[0]


def test_a_sparkline_goes_from_the_lowest_to_the_highest():
    assert sparkline(np.array([0.0, 1.0, np.nan, 7.0])) == "▁▂ █"
    assert sparkline(np.array([3.0, 3.0])) == "▁▁" and sparkline(np.array([np.nan])) == ""
    assert len(sparkline(np.arange(5001.0))) == 40


def test_show_says_everything_about_a_trial(capsys):
    assert show_trial(str(DCGAN), Path("results")) == 0
    out = capsys.readouterr().out
    for text in (
        "dcgan on digits, seed 0: completed",
        "FID (digits-cnn) ↓",
        "loss, generator",
        "latent_dim",
        "budget images",
    ):
        assert text in out
    assert "Make it again: ganbench run --plugins dcgan --datasets digits --seeds 0, --images " in out
    assert not any(character in out for character in "\x1b\t")


def test_show_finds_a_trial_by_its_id(capsys):
    identity = DCGAN.name.rpartition("-")[2]
    assert show_trial(identity, REFERENCE) == 0
    assert "seed 0: completed" in capsys.readouterr().out
    assert locate(identity, REFERENCE) == DCGAN
    for text, message in (
        ("00000000", "0 trials"),
        ("nothing", "there is no folder"),
        (str(REFERENCE), "results folder"),
    ):
        with pytest.raises(UsageError, match=message):
            locate(text, REFERENCE)


def test_show_tells_an_interrupted_trial_how_far_it_came(tmp_path, capsys):
    record = json.loads((DCGAN / "record.json").read_text())
    lines = [
        {"attempt": 1},
        *({"evaluation": each} for each in record["evaluations"][:5]),
        {"attempt": 2},
        {"images": 13_000},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "progress.jsonl").write_text(text + '{"images": 99')
    assert show_trial(str(tmp_path), Path("results")) == 1
    out = capsys.readouterr().out
    assert "interrupted after 13,000 images, attempt 2" in out and "fid" in out and "▁" in out


def test_show_names_what_is_no_trial_or_damaged(tmp_path, capsys):
    with pytest.raises(UsageError, match="is no trial"):
        show_trial(str(tmp_path), Path("results"))
    (tmp_path / "record.json").write_text("{}")
    assert show_trial(str(tmp_path), Path("results")) == 3
    assert "damaged" in capsys.readouterr().err


def test_the_command_names_only_what_is_not_the_default():
    record = read(DCGAN / "record.json")

    def line_of(extractor: str = "inception-v3@0cc54c4f", lr: Any = 0.001, **trial: Any) -> str:
        settings = {**record.identity.trial.hyperparameters, "lr": lr}
        identity = replace(
            record.identity,
            trial=replace(record.identity.trial, hyperparameters=settings, **trial),
            evaluation=replace(record.identity.evaluation, extractor=extractor),
        )
        return command(replace(record, label="dcgan[lr=0.001,width=32]", identity=identity))

    line = line_of()
    assert line.endswith("--set dcgan.lr=0.001 --set dcgan.width=32")
    assert "--extractor inception-v3 --weights FILE-OF-0cc54c4f " in line
    assert "'dcgan.lr=1; rm -rf ~'" in line_of(lr="1; rm -rf ~")
    assert "--seeds 0, " in line and "--engine" not in line and "--precision" not in line
    line = line_of(seed=13, engine="seeds", precision="bf16")
    assert "--seeds 10-19 " in line and line.endswith(" --precision bf16 --engine seeds")


def test_sample_draws_what_was_scored(ganbench, tmp_path):
    options = ("--datasets", "digits", "--seeds", "1", "--images", "64", "--evaluations", "1", "--executor", "inline")
    run = ganbench("run", "--plugins", "noise", *options)
    assert run.returncode == 0, run.stderr
    place = next(tmp_path.glob("ganbench-results/digits/noise/seed-0-*"))
    drawn = ganbench("sample", place.name[-8:], "--out", "grid.png")
    assert drawn.returncode == 0 and "64 samples" in drawn.stdout, drawn.stderr
    made, kept = (
        Image.open(io.BytesIO(path.read_bytes())) for path in (tmp_path / "grid.png", place / "samples/64.png")
    )
    assert made.size == kept.size and made.tobytes() == kept.tobytes()
    nothing = (Path("results"), 10, 7)
    assert sample(str(place), *nothing, tmp_path / "samples.npy", None, "inline") == 0
    assert np.load(tmp_path / "samples.npy").shape == (10, 1, 8, 8)
    with pytest.raises(UsageError, match=r"the ending \.png"):
        sample(str(place), *nothing, tmp_path / "x.gif", None, "inline")
    with pytest.raises(UsageError, match="only run and tune send work to other machines"):
        sample(str(place), *nothing, tmp_path / "samples.npy", None, "ray")
