"""What a person sees on a terminal, in a pipe and in a log."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from rich.console import Console
from rich.text import Text

from ganbench.plugin.report import Report
from ganbench.reporters.sections import sections
from ganbench.reporters.terminal import draw, show, summarise
from ganbench.results.store import Contents, Problem
from ganbench.runner import progress
from ganbench.runner.progress import LiveDisplay, PlainDisplay, describe
from ganbench.utils.console import plain
from ganbench.utils.errors import printable

METRICS = {"fid": ("FID", "min"), "is": ("IS", "max"), "recall": ("Recall", "max"), "coverage": ("Coverage", "max")}


def report(verdicts=(), **names):
    head = {
        "dataset": "digits",
        "extractor": "digits-cnn",
        "protocol": "0a1b2c3d",
        "rank": 1,
        "tier": "a",
        "variant": "dcgan[discriminator_updates=5,lr=0.0001]",
        "seeds": 5,
        "failed": 2,
        "verdict": "2 stable, 1 oscillating, 2 diverged",
    }
    scores = {}
    for metric in METRICS:
        scores |= {metric: 2.5, f"{metric}_low": 1.25, f"{metric}_high": 3.75, f"{metric}_floor": 0.0764}
    baseline = head | {"rank": None, "tier": "", "variant": "noise", "failed": 0, "verdict": ""}
    table = pd.DataFrame([{**line, **scores, **names} for line in (head, baseline)]).astype({"rank": "Int64"})
    metrics = {name: {"label": word, "direction": way} for name, (word, way) in METRICS.items()}
    return Report(table, trials(verdicts), metrics=metrics)


def trials(verdicts):
    columns = [
        "dataset",
        "protocol",
        "variant",
        "seed",
        "verdict",
        "note",
        "evidence",
        "verdict_step",
        "verdict_images",
    ]
    lines = [
        ["digits", "0a1b2c3d", "vanilla", seed, word, "lost modes", "u_rise 0.9", 50, 3200]
        for seed, word in enumerate(verdicts)
    ]
    return pd.DataFrame(lines, columns=columns)


def trial(label="dcgan", seed=0, role="variant", budget=6400):
    protocol = SimpleNamespace(budget_images=budget, extractor="digits-cnn")
    return SimpleNamespace(
        title=f"{label} on digits, seed {seed}",
        role=role,
        primary="fid",
        metrics={"fid": {"label": "FID"}},
        spec=SimpleNamespace(protocol=protocol),
    )


def record(status="completed", reason=None, **values):
    return SimpleNamespace(status=status, reason=reason, values=values, metrics={})


def test_a_pipe_gets_one_whole_line_a_row(capsys):
    show(report())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "digits. Protocol 0a1b2c3d: scores by digits-cnn."
    assert [line.split()[:2] for line in lines[2:6]] == [
        ["1", "a"],
        ["noise", "2.50"],
        ["ideal", "sampler"],
        [],
    ]
    assert lines[4].split()[2] == "0.0764"
    assert lines[6].endswith("share of repetitions: 75 % (3 completed seeds); 93.75 % (5 completed seeds).")
    headings, first = lines[1], lines[2]
    for metric in ("FID (digits-cnn) ↓", "Coverage (digits-cnn) ↑"):
        assert first[headings.index(metric) :].startswith("2.50 [1.25, 3.75]")
    assert "dcgan[discriminator_updates=5,lr=0.0001]" in first
    assert "2 stable, 1 oscillating, 2 diverged" in first
    assert "\x1b" not in "".join(lines)


def test_unstable_trainings_are_named_with_what_it_means(capsys):
    show(report(["stable", "collapsed", "unknown", "", *["collapsed"] * 6]))
    lines = capsys.readouterr().out.splitlines()[6:]
    assert lines[0] == "Unstable trainings"
    assert lines[1].startswith("collapsed: the generator shows one thing")
    assert lines[2] == "  vanilla, seed 1 at 3,200 images (lost modes): u_rise 0.9"
    assert lines[7] == "  and 2 more; trials.csv and leaderboard.md have them all"


def test_plain_pads_and_never_shortens():
    assert plain([["a", "b" * 300], ["long", ""], ["x\ny\x1b[2J", "z"]]) == (
        f"a            {'b' * 300}\nlong\nx\\ny\\x1b[2J  z\n"
    )


def drawn(width, **names):
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system="standard")
    for section in sections(report(**names)):
        draw(section, console)
    return out.getvalue()


def without_styles(text):
    return Text.from_ansi(text).plain


def test_eighty_columns_show_the_score_its_interval_the_floor_and_the_verdict():
    text = without_styles(drawn(80))
    assert max(map(len, text.splitlines())) <= 80
    for whole in ("2.50 [1.25, 3.75]", "0.0764", "(digits-cnn) ↓", "Verdict", "Seeds", "Failed", "oscillating"):
        assert whole in text
    assert "…" not in text
    assert "Not shown for lack of width: IS, Recall, Coverage; they are in leaderboard.html and .csv." in " ".join(
        text.split()
    )


def test_a_wide_terminal_shows_every_metric():
    text = without_styles(drawn(200))
    assert "Not shown" not in text
    assert all(label in text for label, _ in METRICS.values())


def test_baselines_are_dim_and_the_floor_is_last():
    lines = drawn(200).splitlines()
    (noise,) = [line for line in lines if "noise" in line]
    (dcgan,) = [line for line in lines if "dcgan" in line]
    assert "\x1b[2m" in noise and "\x1b[2m" not in dcgan
    assert "ideal sampler" in [line for line in lines if line.strip()][-1]


@pytest.mark.parametrize("name", ["[red]x[/red]", "[/]", "[link=http://x]y", "\x1b[2Jz"])
def test_names_are_not_markup(name):
    text = "".join(without_styles(drawn(200, variant=name, dataset=name, verdict=name)).split())
    assert text.count("".join(printable(name).split())) >= 5
    assert "\x1b[2J" not in drawn(200, variant=name, dataset=name, verdict=name)


def test_describe():
    assert describe(trial(), record(fid=3.14159), {"wall_seconds": 12.34}) == (
        "dcgan on digits, seed 0: completed, FID (digits-cnn) 3.14, 12.3 s"
    )
    assert describe(trial(), record("error", "ValueError: a\nb\x1b[2J"), {}) == (
        "dcgan on digits, seed 0: error: ValueError: a\\nb\\x1b[2J"
    )
    assert describe(trial(), record("diverged", "loss is nan", fid=None), {}) == (
        "dcgan on digits, seed 0: diverged: loss is nan"
    )


def test_a_log_gets_a_line_a_finished_trial(capsys):
    screen = PlainDisplay()
    screen.begin([trial(seed=0), trial(seed=1)], kept=3)
    screen.progress(trial(seed=0), 3200, None)
    for seed in (0, 1):
        screen.finished(trial(seed=seed), record(fid=2.0), {"wall_seconds": 1})
    screen.close()
    assert capsys.readouterr().err.splitlines() == [
        "2 trials to run, 3 finished earlier",
        "[1/2] dcgan on digits, seed 0: completed, FID (digits-cnn) 2, 1.0 s",
        "[2/2] dcgan on digits, seed 1: completed, FID (digits-cnn) 2, 1.0 s",
    ]


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when a test says so."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def live(width=120):
    out = io.StringIO()
    screen = LiveDisplay(Console(file=out, width=width, height=30, force_terminal=True, color_system=None))
    return screen, out


def bars(screen):
    """The bars as they are drawn now."""
    out = io.StringIO()
    Console(file=out, width=screen.bars.console.width, color_system=None).print(screen.bars.get_renderable())
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_bars_show_progress_the_latest_score_and_speed(clock):
    screen, _ = live()
    screen.begin([trial(seed=0), trial(seed=1)], kept=0)
    screen.progress(trial(seed=0), 0, SimpleNamespace(values={"fid": 40.0}))
    clock.seconds = 2.0
    screen.progress(trial(seed=0), 3200, SimpleNamespace(values={"fid": 12.5}))
    screen.progress(trial(seed=0), 3264, None)
    sweep, one = bars(screen)
    assert sweep.startswith("0/2 trials") and " 26% " in sweep
    assert one.startswith("  dcgan on digits, seed 0") and " 51% " in one
    assert one.endswith("FID (digits-cnn) 12.5, 1,632 images/s")
    screen.finished(trial(seed=0), record(fid=12.0), {})
    (sweep,) = bars(screen)
    assert sweep.startswith("1/2 trials") and " 50% " in sweep
    screen.close()


def test_a_resumed_trial_counts_what_it_had_and_its_speed_is_that_of_now(clock):
    screen, _ = live()
    screen.begin([trial()], kept=0)
    screen.progress(trial(), 3200, None)
    assert all(" 50% " in line for line in bars(screen))
    clock.seconds = 2.0
    screen.progress(trial(), 4800, None)
    # Its process was killed: it goes back, but the sweep does not count the same images twice.
    screen.progress(trial(), 3200, None)
    sweep, one = bars(screen)
    assert " 75% " in sweep and " 50% " in one
    screen.progress(trial(), 4800, None)
    assert all(" 75% " in line for line in bars(screen))
    screen.close()


def test_a_baseline_has_no_speed(clock):
    screen, _ = live()
    screen.begin([trial("noise", role="baseline")], kept=0)
    screen.progress(trial("noise", role="baseline"), 0, None)
    clock.seconds = 2.0
    screen.progress(trial("noise", role="baseline"), 6000, SimpleNamespace(values={"fid": 80.0}))
    assert bars(screen)[1].endswith("FID (digits-cnn) 80")
    screen.close()


@pytest.mark.parametrize("width", [20, 60, 80])
def test_bars_stay_on_one_line_each(width):
    screen, _ = live(width)
    names = ["dcgan[discriminator_updates=5,lr=0.0001]", "vanilla", "[red]x[/red]"]
    screen.begin([trial(name) for name in names], kept=0)
    for name in names:
        screen.progress(trial(name), 3200, SimpleNamespace(values={"fid": 12.5}))
    lines = bars(screen)
    assert len(lines) == 4 and max(map(len, lines)) <= width
    if width == 80:
        assert all("FID (digits-cnn) 12.5" in line and "50%" in line for line in lines[1:])
    screen.close()


def test_bars_are_gone_at_the_end_and_lines_stay():
    screen, out = live()
    names = ["[red]x[/red]", "[/nothing]", "\x1b[2Jy"]
    screen.begin([trial(name) for name in names], kept=1)
    for name in names:
        screen.progress(trial(name), 640, None)
        screen.finished(trial(name), record("error", f"KeyError: {name}"), {"wall_seconds": 0.5})
    screen.close()
    screen.close()
    text = out.getvalue()
    assert "[red]x[/red] on digits, seed 0: error: KeyError: [red]x[/red], 0.5 s" in text
    assert "[/nothing] on digits" in text
    assert "\x1b[2J" not in text
    # The last thing written is the erasing of the bars, and the cursor is back.
    tail = text[text.rindex("trials") :]
    assert "\x1b[2K" in tail and "\x1b[?25h" in tail


def test_nothing_to_run_draws_nothing():
    screen, out = live()
    screen.begin([], kept=4)
    screen.close()
    assert out.getvalue() == "4 trials finished earlier are kept\n"


def test_summary_says_what_marks_mean_and_what_is_left_out(capsys):
    title = "dcgan on digits, seed 4"
    failed = SimpleNamespace(status="diverged", reason="loss is nan\nat step 3", title=title)
    problem = Problem(Path("results/x/record.json"), "it was edited")
    summarise(Contents([failed], [problem], interrupted=2, superseded=1), Path("results"))
    out, err = capsys.readouterr()
    legend, tables = out.splitlines()
    for mark in ("[interval]", "tier letter", "?", "floor"):
        assert mark in legend
    assert str(Path("results") / "leaderboard.html") in tables
    lines = err.splitlines()
    assert lines[0] == "dcgan on digits, seed 4: diverged: loss is nan\\nat step 3"
    assert lines[1].startswith("2 interrupted trials have no row")
    assert "1 records of earlier code" in lines[2]
    assert "record.json: it was edited" in lines[3]
