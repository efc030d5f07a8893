"""What README and docs show is run as it stands there, and nothing that can be used is missing from them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import click
import pandas as pd
import pytest

from ganbench import hookspecs
from ganbench.cli import cli

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
SMALL = ("--seeds", "1", "--images", "640", "--evaluations", "1", "--samples", "200", "--executor", "inline")


def text(page: str) -> str:
    return (ROOT / page).read_text()


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text(page), flags=re.DOTALL)


def names(block: str) -> list[str]:
    """What a plugin's module offers: the names that it gives to its classes and instances."""
    return re.findall(r"^ *name(?:, label, direction)? ?= ?\"([\w-]+)\"", block, flags=re.MULTILINE)


PLUGINS = {names(block)[0]: block for page in PAGES for block in blocks(page) if "@hookimpl" in block}
SCRIPTS = [(page, block) for page in PAGES for block in blocks(page) if "@hookimpl" not in block]


def test_the_plugins_of_the_documentation_run_and_are_ranked(
    install: Callable[..., Path], ganbench, tmp_path: Path
) -> None:
    modules = {f"module_{number}": block for number, block in enumerate(PLUGINS.values())}
    entries = {name: module for module, block in modules.items() for name in names(block)}
    site = install("docs", {f"{module}.py": block for module, block in modules.items()}, entries)

    variants = sorted(name for name, block in PLUGINS.items() if "ganbench_variants" in block)
    assert {"my-lsgan", "small-gan", "my-gan", "two-time-scales", "truncated", "tiny-diffusion"} <= set(variants)
    what = ("--plugins", ",".join(variants), "--datasets", "digits,cloud", "--metrics", "coverage,spread,nn_accuracy")
    result = ganbench("run", *what, *SMALL, site=site)
    assert result.returncode == 0, result.stderr
    board = pd.read_csv(tmp_path / "results/leaderboard.csv")
    assert sorted(zip(board.dataset, board.variant, strict=True)) == [
        (dataset, variant) for dataset in ("cloud", "digits") for variant in variants
    ]
    assert board["rank"].notna().all() and not board.failed.any()
    assert board[board.dataset == "cloud"].spread.notna().all() and board[board.dataset == "digits"].spread.isna().all()
    assert board.nn_accuracy.between(0.4, 1).all() and board.nn_accuracy_floor.between(0.4, 0.6).all()

    images = ("-d", "shapes", "--extractor", "pixels", "--metrics", "fid", "--results", "shapes")
    result = ganbench("run", "-p", "my-gan", *images, *SMALL, site=site)
    assert result.returncode == 0, result.stderr
    assert list(pd.read_csv(tmp_path / "shapes/leaderboard.csv")["rank"]) == [1]


@pytest.mark.parametrize(("page", "block"), SCRIPTS, ids=[page for page, _ in SCRIPTS])
def test_the_scripts_of_the_documentation_run(page: str, block: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("example", ["shapes", "two_sample"])
def test_tutorials_show_the_examples(example: str) -> None:
    (path,) = (ROOT / "examples").glob(f"*/ganbench_{example}.py")
    assert path.read_text() in PLUGINS.values()


def test_every_hook_is_documented() -> None:
    hooks = [name for name in vars(hookspecs) if name.startswith("ganbench_")]
    assert len(hooks) == 6
    for name in hooks:
        assert name in text("docs/plugins.md"), f"docs/plugins.md does not mention {name}"


def test_every_command_is_in_the_readme() -> None:
    for name in cli.commands:
        assert f"ganbench {name}" in text("README.md"), f"README.md does not mention ganbench {name}"


def options(command: click.Command) -> list[str]:
    return [flag for option in command.params for flag in option.opts if flag.startswith("--")]


def test_every_option_is_explained_somewhere() -> None:
    everything = "\n".join(map(text, PAGES))
    for name, command in cli.commands.items():
        for option in options(command):
            assert re.search(rf"{option}\b", everything), f"no page mentions {option} of ganbench {name}"


def test_commands_of_the_documentation_exist() -> None:
    shown = [line for page in PAGES for line in re.findall(r"^ {4}ganbench .*", text(page), flags=re.MULTILINE)]
    assert len(shown) > 50
    for line in shown:
        name, *words = shlex.split(re.sub(r" {3,}\S.*|#.*|[][]", "", line.strip()))[1:]  # without the remark beside it
        if name.startswith("-"):
            continue
        assert name in cli.commands, line
        for word in words:
            if word.startswith("--"):
                assert word in options(cli.commands[name]), f"{line}: ganbench {name} has no {word}"


def test_every_metric_has_its_formula_and_its_row() -> None:
    for point in entry_points(group="ganbench"):
        if point.value.startswith("ganbench.metrics."):
            for page in ("docs/metrics.md", "docs/protocol.md"):
                assert re.search(rf"^\| .*`{point.name}`", text(page), re.MULTILINE), f"{page} has no row {point.name}"


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, "results/README.md", "examples/README.md"]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text(page)):
            path = ((ROOT / page).parent / target).resolve()
            assert path.exists(), f"{page} links to {target}"
            # The site has no other files.
            assert not page.startswith("docs/") or path.is_relative_to(ROOT / "docs"), f"{page} links to {target}"


def test_every_variant_and_dataset_has_its_row() -> None:
    for page, kind in (("docs/variants.md", "ganbench_plugins."), ("docs/datasets.md", "ganbench.datasets.")):
        for point in entry_points(group="ganbench"):
            if point.value.startswith(kind):
                assert f"`{point.name}" in text(page), f"{page} does not mention {point.name}"
