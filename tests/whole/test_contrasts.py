"""What a benchmark of GANs must reveal, on its own variants: pytest -m slow tests/whole/test_contrasts.py (minutes)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

pytestmark = pytest.mark.slow


def run(ganbench, tmp_path: Path, *arguments: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The leaderboard by variant without settings, and the trials."""
    result = ganbench("run", *arguments, timeout=1500)
    assert result.returncode == 0, result.stderr
    board, trials = (pd.read_csv(tmp_path / f"ganbench-results/{name}.csv") for name in ("leaderboard", "trials"))
    for frame in (board, trials):
        frame["variant"] = frame.variant.str.partition("[")[0]
    return board.set_index("variant"), trials


def test_packs_and_penalties_keep_the_modes_that_vanilla_loses_on_ring8(ganbench, tmp_path: Path) -> None:
    """Adam's beta1 = 0.9 makes the two players chase each other; five seeds each.

    Modes and their balance tell it; the tiers go by recovered mass, which sharpness moves more.
    """
    momentum = [f"--set={name}.beta1=0.9" for name in ("vanilla", "r1", "pacgan")]
    momentum += ["--set=r1.lr=1e-3", "--set=r1.gamma=1"]
    board, trials = run(
        ganbench, tmp_path, "-p", "vanilla,r1,pacgan", "-d", "ring8", "--seeds", "5", "--evaluations", "10", *momentum
    )
    modes = {name: rows.modes.to_numpy() for name, rows in trials.groupby("variant")}
    mode_kl = {name: rows.mode_kl.to_numpy() for name, rows in trials.groupby("variant")}
    for name in ("r1", "pacgan"):
        assert np.median(modes[name]) == 8 and board.high_quality[name] > 0.02
        assert mannwhitneyu(modes[name], modes["vanilla"], alternative="greater").pvalue < 0.05
        assert mannwhitneyu(mode_kl[name], mode_kl["vanilla"], alternative="less").pvalue < 0.05


def test_minimax_shows_the_starved_generator(ganbench, tmp_path: Path) -> None:
    """Where D leads, G learns nothing from the saturating loss, and learns from the flipped labels."""
    board, _ = run(
        ganbench,
        tmp_path,
        *("-p", "minimax,r1,noise", "--seeds", "3", "--images", "32000"),
        *("--set=minimax.critic_steps=5", "--set=r1.critic_steps=5", "--set=r1.gamma=0.001", "--set=r1.beta1=0.5"),
    )
    assert board.fid["minimax"] > 2 * board.fid["noise"] and board.d_auc["minimax"] > 0.99
    assert board.fid["r1"] < 0.5 * board.fid["minimax"]
    assert "dominated" in board.verdict["minimax"]


def test_copies_score_as_the_training_images_do_and_are_known_as_copies(ganbench, tmp_path: Path) -> None:
    """Below the ideal sampler, whose draws show some images twice and others not at all."""
    board, _ = run(ganbench, tmp_path, "-p", "memorizer,noise", "--seeds", "3", "--images", "6400")
    scored = ganbench("score", "--real", "digits", "--fake", "digits:train", "--metrics", "fid", "--json")
    copied = json.loads(scored.stdout)["metrics"]["fid"]["value"]
    assert board.fid["memorizer"] == pytest.approx(copied, rel=0.05) and copied < board.fid_floor["memorizer"]
    assert board.authenticity["memorizer"] < 0.02 < 0.5 < board.authenticity["noise"]


def test_a_penalty_keeps_modes_of_stacked_digits_that_vanilla_loses(ganbench, tmp_path: Path) -> None:
    board, trials = run(
        ganbench,
        tmp_path,
        *("-p", "vanilla,r1", "-d", "stacked-digits", "--seeds", "5"),
        *("--images", "32000", "--evaluations", "1", "--metrics", "modes,mode_kl"),
    )
    assert trials[trials.variant == "r1"].modes.min() > 900 > 600 > trials[trials.variant == "vanilla"].modes.max()
    assert not set(board.tier["r1"]) & set(board.tier["vanilla"])
