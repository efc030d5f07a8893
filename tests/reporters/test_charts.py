"""Charts as numbers: axes, lines, bands, points, average ranks; and pictures as a page holds them."""

from __future__ import annotations

import base64
import io
import re
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ganbench.analysis.aggregation import Across
from ganbench.analysis.statistics import Friedman
from ganbench.reporters.charts import (
    BOTTOM,
    COLOURS,
    HEIGHT,
    LEFT,
    STYLES,
    WIDTH,
    Series,
    axis,
    finite,
    lines,
    marker,
    path,
    thinned,
)
from ganbench.reporters.formatting import shortened, tick
from ganbench.reporters.leaderboard_charts import critical_difference_diagram, performance_profiles, scatter_plot
from ganbench.reporters.leaderboard_page import fair_share
from ganbench.reporters.pictures import picture, training_pictures
from ganbench.reporters.trials import Trial, median_first

NAN = float("nan")


def series(name, values, **named):
    return Series(name, np.arange(len(values), dtype=float), np.array(values, dtype=float), **named)


def test_an_axis_is_logarithmic_only_for_positive_values_far_apart():
    assert axis(np.array([1.0, 100.0])).log and not axis(np.array([1.0, 10.0])).log
    assert not axis(np.array([-1.0, 100.0])).log and not axis(np.array([0.0, 100.0])).log
    assert axis(np.array([NAN])) is None
    for values in ([5.0], [0.0, 0.0], [1e-300, 1e-299], [-3.0, 3.0], [1e-9, 1e9]):
        found = axis(np.array(values))
        shares = found.share(np.array(values))
        assert ((shares >= 0) & (shares <= 1)).all() and len(found.ticks) < 20
        assert all(found.low <= tick <= found.high * (1 + 1e-9) for tick, _ in found.ticks)


@pytest.mark.parametrize("value, text", [(0, "0"), (64_000, "64k"), (1.5e6, "1.5M"), (0.02, "0.02"), (-2000, "-2k")])
def test_ticks_are_short(value, text):
    assert tick(value) == text


@pytest.mark.parametrize("low, high", [(64_226, 64_290), (1e6, 1e6 + 900), (0.12341, 0.12349), (12_345.1, 12_345.9)])
def test_ticks_of_one_axis_have_different_labels(low, high):
    labels = [text for _, text in axis(np.array([low, high])).ticks]
    assert len(labels) > 2 and len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    "names",
    [
        ["dcgan[lr=0.0001]", "dcgan[lr=0.0005]", "dcgan"],
        [f"dcgan[lr={lr},width={width}]" for lr in (1e-4, 5e-4) for width in (16, 32)],
        ["dcgan[lr=0.000311,width=82]", "dcgan[lr=0.000412,width=82]"],
        [f"my-gan-of-the-year-2026-{i}" for i in range(12)],
        ["a" * 40 + end for end in ("", "b", "bc")],
        ["x" * 30 + c + "y" * 30 for c in "abc"],
        ["x" * 30 + c * 30 for c in "abc"],
        [f"{'p' * 20}{i:040d}{'q' * 20}" for i in range(120)],
    ],
)
@pytest.mark.parametrize("most", [14, 15])
def test_labels_are_cut_where_names_agree(names, most):
    labels = shortened(names, most)
    assert list(labels) == names and len(set(labels.values())) == len(names)
    assert all(len(label) <= most for label in labels.values())
    assert all(labels[name] == name for name in names if len(name) <= most)


def test_a_label_keeps_the_word_in_which_names_differ():
    labels = shortened(["dcgan[lr=0.0001]", "dcgan[lr=0.0005]"], 14)
    assert list(labels.values()) == ["dcg…lr=0.0001]", "dcg…lr=0.0005]"]
    assert shortened(["a-name-of-its-own"], 14) == {"a-name-of-its-own": "a-name-of-its…"}
    names = ["dcgan[lr=0.0001]", "dcgan[lr=0.0005]"]
    chart = lines("y", [series(name, [0.0, 1.0]) for name in names], [("images", "x")])
    assert [group["short"] for group in chart["groups"]] == ["dcg…lr=0.0001]", "dcg…lr=0.0005]"]


def test_a_line_is_broken_where_a_value_is_missing():
    assert path(np.arange(4.0), np.array([1.0, NAN, 2.0, 3.0])) == "M0 1h0M2 2L3 3"
    assert path(np.array([1.0]), np.array([2.0])) == "M1 2h0"


def test_what_cannot_be_drawn_is_missing():
    assert np.isnan(finite([None, NAN, 1e300, -1e300, float("inf")])).all()
    assert finite([1, 2.5]).tolist() == [1.0, 2.5]
    assert lines("y", [series("a", [NAN, NAN])], [("images", "x")]) is None


def test_a_long_course_is_thinned_and_keeps_its_ends():
    assert thinned(3) == [0, 1, 2] and thinned(0) == []
    kept = thinned(5001)
    assert kept[0] == 0 and kept[-1] == 5000 and len(kept) == 41


def test_lines_share_an_axis_and_follow_another_at_their_own_pace():
    slow, fast = series("slow", [3, 2, 1], paces={"seconds": 10.0}), series("fast", [3, 2, 2], paces={"seconds": 1.0})
    other = series("unknown", [1, 1, 1])
    chart = lines("FID", [slow, fast, other], [("images", "images"), ("seconds", "seconds")])
    assert [dict(group["factors"]) for group in chart["groups"]] == [
        {"images": "1", "seconds": "1"},
        {"images": "1", "seconds": "0.1"},
        {"images": "1"},
    ]
    assert [each["name"] for each in chart["axes"]] == ["images", "seconds"]
    assert chart["table"]["rows"][0] == ("slow", ["3", "2", "1"])


def test_names_at_the_right_do_not_cover_each_other():
    chart = lines("y", [series(f"v{i}", [0.0, 1.0 + i / 1e6]) for i in range(12)], [("images", "x")])
    heights = sorted(float(group["label"]) for group in chart["groups"])
    assert min(b - a for a, b in pairwise(heights)) >= 11.9
    assert heights[-1] <= 218.1
    assert not lines("y", [series(f"v{i}", [0.0, i]) for i in range(13)], [("images", "x")])["named"]


def trial(seed, status="completed", **scores):
    return Trial({"seed": seed, "status": status, "verdict": "", "trial": "", **scores}, None, None, {})


def test_the_median_seed_is_a_real_one_and_no_failed_one():
    own = [trial(0, fid=9.0), trial(1, fid=2.0), trial(2, "error", fid=3.0), trial(3, fid=1.0), trial(4, fid=7.0)]
    assert [each.seed for each in median_first(own, "fid")] == [1, 3, 4, 0]  # the lower of the two in the middle
    assert [each.seed for each in median_first([trial(0, fid=NAN), trial(1, fid=5.0)], "fid")] == [1, 0]


def test_a_plane_needs_two_variants_with_both_figures():
    variants = [(0, "a", [trial(0, x=1.0, y=2.0), trial(1, x=3.0, y=NAN)]), (1, "b", [trial(0, x=5.0, y=1.0)])]
    variants.append((2, "c", [trial(0, "error", x=1.0, y=1.0)]))
    chart = scatter_plot(lambda t: t.about["y"], lambda t: t.about["x"], variants, "y", "x")
    assert [(point["name"], point["x"], point["y"]) for point in chart["points"]] == [("a", "1", "2"), ("b", "5", "1")]
    assert scatter_plot(lambda t: t.about["y"], lambda t: t.about["x"], variants[:1], "y", "x") is None


def test_names_on_a_plane_stay_inside_and_cover_no_other():
    rng = np.random.default_rng(0)
    names = [f"variant-{i:02}" for i in range(40)]
    places = [(rng.normal(0, 1 if i % 2 else 0.01), rng.normal(0, 1 if i % 2 else 0.01)) for i in range(40)]
    variants = [(i, names[i], [trial(0, x=x, y=y)]) for i, (x, y) in enumerate(places)]
    points = scatter_plot(lambda t: t.about["y"], lambda t: t.about["x"], variants, "y", "x")["points"]
    shown = [(float(p["label_x"]), float(p["label_y"]), 7.4 * len(p["short"])) for p in points if p["short"]]
    assert len(shown) >= 20  # the others are in the tooltip and the figures
    for i, (left, base, wide) in enumerate(shown):
        assert left > LEFT and left + wide <= WIDTH and 9 <= base <= HEIGHT - BOTTOM
        assert not any(left < x + w and x < left + wide and abs(base - y) < 11 for x, y, w in shown[:i])
    assert any(p["lead"] for p in points) and points[0]["short"]


def simulated(colour: str, sight: list[list[float]]) -> np.ndarray:
    """A colour in CIELAB as an eye of that kind sees it (Machado, Oliveira and Fernandes 2009, severity 1)."""
    code = colour.lstrip("#")
    value = np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(sight) @ linear, 0, 1)
    white = [0.9505, 1.0, 1.089]
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ seen / white
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


SIGHTS = {
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


@pytest.mark.parametrize("sight", SIGHTS.values(), ids=SIGHTS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_two_colours_look_alike_to_anybody(scheme, sight):
    style = (files("ganbench.reporters") / "templates" / "page.css").read_text()
    colours = re.findall(r"--c\d: (#[0-9a-f]{6});", style)
    assert len(colours) == 2 * COLOURS
    seen = [simulated(c, sight) for c in (colours[:COLOURS] if scheme == "light" else colours[COLOURS:])]
    # 2.3 is a difference that is just seen; side by side on thin lines it takes several times that.
    assert min(np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]) > 20


def test_every_style_of_lines_has_its_marker():
    assert len({marker(style, 0, 0) for style in range(STYLES)}) == STYLES // COLOURS


def test_large_pictures_share_what_small_ones_leave():
    assert fair_share([10, 10, 10], 100, 1) == 10
    assert fair_share([10, 10, 500, 500], 220, 1) == 100
    assert fair_share([500] * 10, 100, 30) == 30  # never less than that
    assert fair_share([], 100, 30) == 30


def across(p: float) -> Across:
    table = pd.DataFrame({"variant": ["a", "b", "c"], "average_rank": [1.1, 1.9, 3.0], "tier": ["a", "ab", "b"]})
    return Across(table, ["d"] * 8, Friedman(9.0, p, np.ones((3, 3)), 1.2), [])


def test_average_ranks_are_drawn_only_where_the_test_rejects():
    drawn = critical_difference_diagram(across(0.01))
    assert [name["text"] for name in drawn["names"]] == ["a 1.10", "b 1.90", "c 3.00"]
    assert len(drawn["bars"]) == 2 and drawn["distance"] == "1.20"  # a with b, b with c
    assert critical_difference_diagram(across(0.2)) is None
    assert critical_difference_diagram(across(0.01)._replace(friedman=None)) is None


def test_profiles_go_from_left_to_right():
    taus = np.linspace(0, 1, 101)
    part = pd.DataFrame({"variant": "a", "tau": taus, "share": 1 - taus, "low": 0.9 - 0.9 * taus, "high": 1.0})
    chart = performance_profiles(part, {"a": 0})
    head, shares = (np.array(cells, dtype=float) for cells in (chart["table"]["head"], chart["table"]["rows"][0][1]))
    assert head[0] == 0 and head[-1] == 1 and len(head) == 11
    np.testing.assert_allclose(shares, 1 - head, atol=0.005)


def png(folder, name, width=72, height=72):
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 1), dtype=np.uint8).repeat(3, axis=2)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / name)
    return folder / name


def test_a_picture_that_is_too_large_for_its_share_loses_rows_and_no_pixel(tmp_path):
    path = png(tmp_path, "1.png")
    whole, part = picture(path), picture(path, share=3_000)
    assert whole["rows"] == 8 and 1 <= part["rows"] < 8 and len(part["url"]) <= 3_000 + 30
    shown = Image.open(io.BytesIO(base64.b64decode(part["url"].partition(",")[2])))
    assert shown.mode == "L" and shown.size == (72, 72 * part["rows"] // 8)
    assert (np.asarray(shown) == np.asarray(Image.open(path))[: shown.height, :, 0]).all()
    broken = tmp_path / "2.png"
    broken.write_bytes(path.read_bytes()[:2_000])
    assert picture(broken, share=1_000)["rows"] == 8  # shown as far as a browser can


def test_pictures_of_a_trial_have_captions_as_far_as_they_are_sound(tmp_path):
    png(tmp_path / "t" / "pictures", "arithmetic.png")
    png(tmp_path / "t" / "pictures", "unknown.png")
    about = tmp_path / "t" / "pictures" / "about.json"
    for text, columns in (('{"arithmetic":[[1,2,3]]}', [[1, 2, 3]]), ('{"arithmetic":[[1,"<b>",3]]}', []), ("[", [])):
        about.write_text(text)
        (found,) = training_pictures(tmp_path / "t", tmp_path)
        assert found["title"] == "Latent arithmetic" and found["columns"] == columns
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "pictures").symlink_to(tmp_path / "t" / "pictures")
    assert training_pictures(tmp_path / "link", tmp_path / "link") == []
