"""Presets: what a word of ``--protocol`` sets, what may differ, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ganbench.analysis.trials_csv import read_trials, reference_table
from ganbench.cli.run import command
from ganbench.results.presets import PRESETS, preset_name
from ganbench.runner.early import check_request
from ganbench.runner.planning import Request


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("--samples 1000", "--samples 1000 contradicts --protocol paper-cifar10, which stands for --samples 50000"),
        ("--reference test", "--reference test contradicts --protocol paper-cifar10"),
        ("--extractor pixels", "which stands for --extractor inception-v3"),
        ("-d digits", "which stands for --datasets cifar10"),
        ("-d cifar10,digits", "which stands for --datasets cifar10"),
        ("--config other.toml", "--samples 1000 contradicts --protocol paper-cifar10"),
    ],
)
def test_what_contradicts_a_preset_is_refused(here: Any, tmp_path: Path, wrong: str, told: str) -> None:
    (tmp_path / "other.toml").write_text("samples = 1000\n")
    for words in (["--protocol", "paper-cifar10", *wrong.split()], [*wrong.split(), "--protocol", "paper-cifar10"]):
        done = here("run", "-p", "noise", *words)
        assert done.returncode == 2 and told in done.stderr, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["other.toml"]


def test_a_file_of_options_and_the_command_line_may_say_what_a_preset_only_suggests(here: Any, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        'plugins = "noise"\nprotocol = "stacked-mnist-1000"\nmetrics = "modes"\nimages = 7\n'
    )
    done = here("run", "--config", "a.toml", "--device", "nowhere")
    assert done.returncode == 2 and "--device nowhere" in done.stderr  # the file itself was taken
    parsed = command.make_context("run", ["--config", str(tmp_path / "a.toml"), "--images", "640"]).params
    request = Request(
        **{name: parsed[name] for name in Request.__dataclass_fields__ if name not in ("seeds", "settings")}
    )
    assert (request.datasets, request.samples, request.extractor) == (("stacked-mnist",), 26_000, "stacked-mnist-cnn")
    assert request.images == 640 and request.metrics == ("modes",) and request.split == "test"
    assert check_request(request, "local")[0].endswith("--reference test --metrics modes")


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_set_that_is_too_small_or_of_points_is_refused_before_anything_is_downloaded(here: Any, more: tuple) -> None:
    for dataset, told in (
        ("digits", "--protocol fid10k compares 10,000 samples with as many real ones, and digits has 900"),
        ("ring8", "--protocol fid10k scores images, and ring8 has points"),
    ):
        done = here("run", "-p", "noise", "-d", dataset, "--protocol", "fid10k", *more)
        assert done.returncode == 2 and told in done.stderr and "download" not in done.stderr, done.stderr


def test_every_preset_names_what_it_sets_and_nothing_else() -> None:
    for name, preset in PRESETS.items():
        dataset = preset.dataset or "cifar10"
        exact = (dataset, preset.extractors[0], preset.samples, preset.reference)
        assert preset_name(*exact) == name
        for place, other in enumerate(("digits@12345678", "inception-v3@00000000", 500, "validation")):
            if place or preset.dataset:
                assert preset_name(*exact[:place], other, *exact[place + 1 :]) == ""
    given = ("cifar10", "inception-v3@6726825d", 50_000, "train")
    assert preset_name(*given) == "paper-cifar10", "the published weights, given as a file"
    assert preset_name("digits", "inception-v3", 10_000, "test", 900) == ""
    stacked = preset_name("stacked-mnist", "stacked-mnist-cnn", 26_000, "test", 10_000)
    assert stacked == "stacked-mnist-1000", "its 26,000 samples are compared with 10,000 real images"


def test_a_preset_for_several_datasets_asks_for_one(here: Any) -> None:
    done = here("run", "-p", "noise", "--protocol", "fid10k")
    assert done.returncode == 2 and "name one with --datasets" in done.stderr


def test_a_table_is_read_whatever_it_calls_its_preset(tmp_path: Path) -> None:
    table = pd.read_csv(reference_table(), dtype=str, keep_default_na=False).head(3)
    table.assign(preset="ffhq-50k").to_csv(tmp_path / "trials.csv", index=False)
    assert set(read_trials(tmp_path / "trials.csv")["preset"]) == {""}
    exact = {"dataset": "cifar10", "extractor": "inception-v3"}
    table = table.assign(**exact, protocol_samples="50000", protocol_split="train")
    table.to_csv(tmp_path / "trials.csv", index=False)
    assert set(read_trials(tmp_path / "trials.csv")["preset"]) == {"paper-cifar10"}
