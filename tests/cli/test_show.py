"""``ganbench show`` and ``ganbench sample``: one trial on the terminal, and what it draws."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable
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
        {"images": record["evaluations"][4]["images_seen"] + 10},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "progress.jsonl").write_text(text + '{"images": 99')
    assert show_trial(str(tmp_path), Path("results")) == 1
    out = capsys.readouterr().out
    assert f"interrupted after {lines[-1]['images']:,} images, attempt 2" in out and "fid" in out and "▁" in out


def test_show_names_what_is_no_trial_or_damaged(tmp_path, capsys):
    with pytest.raises(UsageError, match="is no trial"):
        show_trial(str(tmp_path), Path("results"))
    (tmp_path / "record.json").write_text("{}")
    assert show_trial(str(tmp_path), Path("results")) == 3
    assert "damaged" in capsys.readouterr().err


def test_the_command_names_only_what_is_not_the_default():
    record = read(DCGAN / "record.json")

    def line_of(extractor: str = "inception-v3@0cc54c4f", lr: Any = 0.001, **trial: Any) -> str:
        settings = {**record.identity.trial.hyperparameters, "lr": lr, "width": 16}
        identity = replace(
            record.identity,
            trial=replace(record.identity.trial, hyperparameters=settings, **trial),
            evaluation=replace(record.identity.evaluation, extractor=extractor),
        )
        return command(replace(record, label="dcgan[lr=0.001,width=16]", identity=identity))

    line = line_of()
    assert line.endswith("--set dcgan.lr=0.001 --set dcgan.width=16")
    assert "--extractor inception-v3 --weights FILE-OF-0cc54c4f " in line
    assert "'dcgan.lr=1; rm -rf ~'" in line_of(lr="1; rm -rf ~")
    assert "--seeds 0, " in line and "--engine" not in line and "--precision" not in line
    line = line_of(seed=13, engine="seeds", precision="bf16")
    assert "--seeds 10-19 " in line and line.endswith(" --precision bf16 --engine seeds")


SLOW = pytest.mark.slow  # pytest -m slow tests/cli/test_show.py: three channels
SMALL = ("--seeds", "1", "--images", "64", "--evaluations", "1", "--executor", "inline")
INLINE = ("--executor", "inline")


@pytest.fixture(scope="module")
def trials(command, tmp_path_factory) -> Callable[[str], Path]:
    """The folder of a trial of ``noise`` on a dataset; each is trained once."""

    @functools.cache
    def of(dataset: str) -> Path:
        folder = tmp_path_factory.mktemp("trial")
        done = command(folder, "run", "-p", "noise", "-d", dataset, "-m", "fid", *SMALL)
        assert done.returncode == 0, done.stderr
        (found,) = folder.glob("ganbench-results/*/noise/seed-0-*")
        return found

    return of


def test_sample_draws_what_was_scored(trials, ganbench, tmp_path):
    place = trials("digits")
    drawn = ganbench("sample", place.name[-8:], "--out", "grid.png", "--results", str(place.parents[2]))
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


def scores(ganbench, real: str, fake: str | Path, *more: str) -> dict[str, Any]:
    """What ``score --json`` says, without where the samples are."""
    done = ganbench("score", "--real", real, "--fake", str(fake), "--json", "-m", "fid,kid,recall", *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["metrics"]


@pytest.mark.parametrize(("dataset", "mode"), [("digits", "L"), pytest.param("stacked-digits", "RGB", marks=SLOW)])
def test_a_folder_of_samples_scores_as_the_trial_does(dataset: str, mode: str, trials, ganbench, tmp_path) -> None:
    done = ganbench("sample", str(trials(dataset)), "--n", "120", "--out", "deep/samples/", *INLINE)
    assert done.returncode == 0 and "120 samples" in done.stdout and "deep/samples/" in done.stdout, done.stderr
    names = sorted(path.name for path in (tmp_path / "deep/samples").iterdir())
    assert names == [f"{i:05d}.png" for i in range(120)]
    assert ganbench("sample", str(trials(dataset)), "--n", "120", "--out", "all.npy", *INLINE).returncode == 0
    pictures = [Image.open(io.BytesIO((tmp_path / "deep/samples" / name).read_bytes())) for name in names]
    assert {picture.mode for picture in pictures} == {mode}
    pixels = np.stack([np.asarray(picture) for picture in pictures])
    array = np.load(tmp_path / "all.npy")
    assert np.array_equal(pixels, array[:, 0] if mode == "L" else array.transpose(0, 2, 3, 1))
    of_trial = scores(ganbench, dataset, trials(dataset), "--n", "120")
    assert of_trial["fid"]["value"] > 0
    assert scores(ganbench, dataset, "deep/samples", "--n", "120") == of_trial
    assert scores(ganbench, dataset, "all.npy", "--n", "120") == of_trial


def test_another_seed_gives_other_samples_in_a_folder(trials, ganbench, tmp_path) -> None:
    for name, seed in (("a", "1"), ("again", "1"), ("b", "2")):
        done = ganbench("sample", str(trials("digits")), "--n", "2", "--seed", seed, "--out", f"{name}/", *INLINE)
        assert done.returncode == 0, done.stderr
    a, again, b = (((tmp_path / name / "00001.png").read_bytes()) for name in ("a", "again", "b"))
    assert a == again != b


def test_where_samples_cannot_go_nothing_is_written(trials, ganbench, tmp_path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "mine.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    place = str(trials("digits"))
    for out, told in [
        ("kept/", "the folder is not empty; name a new one"),
        ("kept", "the folder is not empty; name a new one"),
        ("file/", "file is a file, not a folder"),
        ("file/below/", "file is a file, not a folder"),
        ("nowhere/grid.png", "there is no folder nowhere"),
        ("pictures", "or a slash for a folder"),
    ]:
        done = ganbench("sample", place, "--n", "2", "--out", out, *INLINE)
        assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr, (out, done.stderr)
    done = ganbench("sample", str(trials("ring8")), "--n", "2", "--out", "points/", *INLINE)
    assert done.returncode == 2 and "(2,) are no pictures: give --out a .npy file" in done.stderr, done.stderr
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["file", "mine.txt"]
    assert not (tmp_path / "points").exists()
    assert (
        ganbench("sample", place, "--n", "2", "--out", "empty", *INLINE).returncode == 0
    )  # an empty folder may be there
    assert len(list((tmp_path / "empty").glob("*.png"))) == 2
