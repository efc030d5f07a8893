"""``ganbench film``: what a trial left at each evaluation, as an animated picture."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganbench.cli.film import write_film
from ganbench.reporters.film import SIDE, Panel, film
from ganbench.results.film import SURFACE, Frame, write_frame
from ganbench.utils.errors import UsageError


@pytest.fixture
def filmed(fifteen: Path, tmp_path: Path) -> list[Path]:
    """Two trials whose samples grow from black to white: in 21 frames of one, in 5 of the other."""
    copies = []
    for name, count in (("vanilla/seed-0-*", 21), ("dcgan/seed-1-*", 5)):
        place = next((fifteen / "digits").glob(name))
        copies.append(Path(shutil.copytree(place, tmp_path / place.parent.name / place.name)))
        for images in np.linspace(0, 64_000, count).astype(int).tolist():
            write_frame(copies[-1], images, np.full((64, 1, 8, 8), images * 255 // 64_000, dtype=np.uint8))
    return copies


@pytest.fixture
def points(tmp_path: Path) -> Path:
    """A trial on ring8, of two frames: all samples in the middle, everything taken for real."""
    place = next((Path(__file__).parents[2] / "results" / "reference").glob("ring8/vanilla/seed-0-*"))
    copy = Path(shutil.copytree(place, tmp_path / place.name))
    for images in (0, 64_000):
        write_frame(copy, images, np.zeros((1000, 2), dtype="float32"), np.ones(SURFACE**2))
    return copy


@pytest.mark.parametrize("suffix", [".webp", ".gif", ".png"])
def test_every_evaluation_is_a_frame_and_trials_stand_side_by_side(filmed, tmp_path, suffix, capsys):
    out = tmp_path / f"both{suffix}"
    assert write_film((str(filmed[0]), str(filmed[1])), tmp_path, out, None, 5.0) == 0
    assert "21 frames of 2 trials" in capsys.readouterr().out
    with Image.open(out) as film:
        assert film.n_frames == 21 and film.width > 2 * SIDE
        durations = []
        for i, (long, short) in {0: (0, 0), 10: (127, 127), 20: (255, 255)}.items():
            film.seek(i)
            film.load()
            durations.append(film.info["duration"])
            pixels = np.asarray(film.convert("L")).astype(int)
            # The middle of a tile of each: the short film is as far as the long one.
            assert abs(pixels[12 + 42 + 24, 12 + 24] - long) <= 4
            assert abs(pixels[12 + 42 + 24, 12 + SIDE + 12 + 24] - short) <= 4
        assert durations[0] == 200 and durations[-1] == 1200


def test_the_command_takes_the_rate_and_the_metric_that_it_is_given(filmed, tmp_path, here):
    done = here("film", str(filmed[0]), "--rate", "10", "--metric", "recall", "--out", "one.webp")
    assert done.returncode == 0 and "21 frames of 1 trial" in done.stdout, done.stderr
    with Image.open(tmp_path / "one.webp") as film:
        film.load()
        assert film.info["duration"] == 100
    done = here("film", str(filmed[0]), "--metric", "modes", "--out", "one.webp")
    assert done.returncode == 2 and "modes" in done.stderr


def test_a_film_of_points_shows_modes_and_what_the_discriminator_takes_for_real(tmp_path, points):
    assert write_film((str(points),), tmp_path, tmp_path / "points.webp", "modes", 5.0) == 0
    with Image.open(tmp_path / "points.webp") as film:
        pixels = np.asarray(film.convert("RGB")).astype(int)
    picture = pixels[12 + 42 : 12 + 42 + SIDE, 12 : 12 + SIDE]
    assert np.abs(picture[SIDE // 2, SIDE // 2] - [0x0C, 0x1D, 0x83]).max() < 30  # the samples, in the middle
    assert np.abs(picture[20, 20] - [214, 229, 255]).max() < 5  # real
    red = (picture[..., 0] > 150) & (picture[..., 1] < 90)
    assert red.sum() > 8 * 10  # circles


def test_what_cannot_be_filmed_is_said(filmed, fifteen, tmp_path):
    one, out = str(filmed[0]), tmp_path / "film.webp"
    (tmp_path / "digits" / "dcgan" / "seed-9-00000000").mkdir(parents=True)
    for texts, file, metric, message in (
        ((one,), tmp_path / "film.mp4", None, "a film is a .webp"),
        ((one,) * 9, out, None, "at most 8"),
        ((str(next(fifteen.glob("digits/noise/*"))),), out, None, "left no film"),
        ((one,), out, "modez", "no curve of modez; it has those of .*fid"),
        (("00000000",), out, None, "has no record"),
        (("nothing",), out, None, "there is no folder"),
    ):
        with pytest.raises(UsageError, match=message):
            write_film(texts, tmp_path, file, metric, 5.0)
        assert not file.exists()
    (filmed[0] / "record.json").write_text("{}")
    with pytest.raises(UsageError, match="damaged"):
        write_film((one,), tmp_path, out, None, 5.0)


def test_frames_of_one_picture_are_one_film():
    still = Panel(
        "a name that is much longer than the panel is wide, and then some",
        "digits, seed 0",
        "fid on digits",
        [Frame(0, grid=Image.new("L", (900, 500)))],
        np.zeros((0, 2)),
        "FID",
        np.array([0.0]),
        np.array([np.nan]),
        None,
        "",
        None,
    )
    with Image.open(io.BytesIO(film([still], ".webp", 5.0))) as opened:
        assert opened.size == (SIDE + 24, SIDE + 42 + 40 + 64 + 24)


def test_curves_of_one_metric_on_one_dataset_share_their_scale():
    """A score that hardly moves is drawn flat beside one that falls; beside another metric it fills its own panel."""

    def curve(scale: str, *values: float) -> Panel:
        still = [Frame(images, grid=Image.new("L", (80, 80))) for images in (0, 10)]
        images = np.array([0.0, 10.0])
        return Panel("a", "digits", scale, still, np.zeros((0, 2)), "FID", images, np.array(values), False, "", None)

    def heights(*panels: Panel) -> list[int]:
        with Image.open(io.BytesIO(film(panels, ".png", 5.0))) as opened:
            pixels = np.asarray(opened.convert("RGB"))[-76:]
        blocks = [pixels[:, i * (SIDE + 12) + 12 :][:, :SIDE] for i in range(len(panels))]
        return [int(np.ptp(np.flatnonzero((block < 230).any(axis=(1, 2))))) for block in blocks]

    flat, steep = heights(curve("fid on a", 39.0, 39.1), curve("fid on a", 39.0, 5.0))
    assert flat < 15 < 40 < steep
    assert min(heights(curve("fid on a", 39.0, 39.1), curve("fid on b", 39.0, 5.0))) > 40
