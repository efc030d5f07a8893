"""Frames of a film: how small they are, what comes back, and what of strangers is left out."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ganbench.results import film
from ganbench.results.film import FRAME_BYTES, SURFACE, grid, read_frames, surface_places, tiles, view, write_frame

RNG = np.random.default_rng(0)
RING = np.array([[2 * np.cos(a), 2 * np.sin(a)] for a in np.arange(8) * np.pi / 4])


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ((1, 8, 8), (8, 8)),
        ((1, 28, 28), (8, 8)),
        ((3, 32, 32), (3, 8)),
        ((3, 128, 128), (1, 1)),
        ((1, 32, 48), (7, 8)),
        ((4, 8, 8), (8, 8)),
        ((1, 1, 9), (8, 8)),
    ],
)
def test_as_many_images_are_kept_as_stay_below_two_megabytes(tmp_path, shape, shown):
    images = RNG.integers(0, 256, (64, *shape), dtype=np.uint8)
    for seen in range(21):
        write_frame(tmp_path, seen, images)
    files = list((tmp_path / "film").iterdir())
    assert len(files) == 21 and sum(file.stat().st_size for file in files) < 2_000_000
    rows, columns = shown
    expected = grid(images[: rows * columns], columns)
    frames = read_frames(tmp_path, tmp_path)
    assert [frame.images for frame in frames] == list(range(21))
    assert np.array_equal(np.asarray(frames[0].grid), expected)


def test_an_image_larger_than_a_frame_is_made_smaller_by_the_mean_of_blocks():
    image = np.zeros((2, 3, 512, 512), dtype=np.uint8)
    image[:, 0, :, 256:] = 200
    small = tiles(image)
    assert small.nbytes <= 1.1 * FRAME_BYTES and small.shape[2] == 3
    width = small.shape[1] - 2
    assert (small[1:-1, 1 : width // 2, 0] == 0).all() and (small[1:-1, width // 2 + 2 : -1, 0] == 200).all()
    assert (small[1:-1, 1:-1, 1:] == 0).all()


def test_points_come_back_with_half_precision_and_the_surface_beside_them(tmp_path):
    points = RNG.normal(size=(1500, 2)).astype("float32") * 1e3
    points[0] = 1e30, np.nan
    realness = np.linspace(0, 1, SURFACE**2)
    write_frame(tmp_path, 640, points, realness)
    write_frame(tmp_path, 64, points[:3])
    first, second = read_frames(tmp_path, tmp_path)
    assert (first.images, second.images) == (64, 640) and first.surface is None
    assert second.points.shape == (1000, 2) and np.isinf(second.points[0, 0])
    assert np.allclose(second.points[1:], points[1:1000], rtol=1e-3)
    assert np.array_equal(np.asarray(second.surface).ravel(), (realness * 255).round())


def test_the_surface_is_a_square_around_the_modes_from_the_top():
    corner, side = view(RING)
    assert np.allclose(corner, -3) and side == pytest.approx(6)
    places = surface_places(RING)
    assert places.shape == (SURFACE**2, 2) and np.allclose(places.mean(axis=0), 0)
    assert np.allclose(places[0], [-3 + side / SURFACE / 2, 3 - side / SURFACE / 2])
    assert places[1, 0] > places[0, 0] and places[SURFACE, 1] < places[0, 1]


def test_what_is_no_frame_is_left_out(tmp_path):
    write_frame(tmp_path, 64, RNG.integers(0, 256, (64, 1, 8, 8), dtype=np.uint8))
    folder = tmp_path / "film"
    (folder / "128.png").write_bytes(b"no picture")
    (folder / "192.npy").write_bytes(b"\x93NUMPY")
    np.save(folder / "256.npy", np.zeros((3, 3), dtype=np.float16))
    np.save(folder / "320.npy", np.array([["a", {}]], dtype=object), allow_pickle=True)
    np.save(folder / "384.npy", np.zeros((100_000, 2), dtype=np.float16))
    Image.new("L", (4000, 4000)).save(folder / "448.png")
    (folder / "512.png").symlink_to(folder / "64.png")
    (folder / "notes.txt").write_text("mine")
    assert [frame.images for frame in read_frames(tmp_path, tmp_path)] == [64]


def test_of_more_frames_than_can_be_shown_some_of_the_whole_training_are(tmp_path, monkeypatch):
    monkeypatch.setattr(film, "MOST_FRAMES", 4)
    for images in range(0, 1000, 100):
        write_frame(tmp_path, images, RNG.integers(0, 256, (64, 1, 8, 8), dtype=np.uint8))
    assert [frame.images for frame in read_frames(tmp_path, tmp_path)] == [0, 300, 600, 900]
    assert [frame.images for frame in read_frames(tmp_path, tmp_path, newest=True)] == [900]


def test_nothing_outside_the_results_is_read_or_overwritten(tmp_path):
    images = RNG.integers(0, 256, (64, 1, 8, 8), dtype=np.uint8)
    write_frame(tmp_path / "elsewhere", 64, images)
    trial = tmp_path / "results" / "trial"
    trial.mkdir(parents=True)
    (trial / "film").symlink_to(tmp_path / "elsewhere" / "film")
    assert read_frames(trial, tmp_path / "results") == []
    (trial / "film").unlink()
    (trial / "film").mkdir()
    (trial / "film" / "64.png").symlink_to(tmp_path / "mine.png")
    write_frame(trial, 64, images)
    assert not (tmp_path / "mine.png").exists() and len(read_frames(trial, tmp_path / "results")) == 1
    assert read_frames(tmp_path / "nothing", tmp_path) == []
