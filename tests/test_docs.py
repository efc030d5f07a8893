"""What README and docs show is run as it stands there, and nothing that can be used is missing from them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path

import click
import pandas as pd
import pytest

from ganbench.cli import cli
from ganbench.plugin import hookspecs

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
SMALL = ("--seeds", "1", "--images", "640", "--evaluations", "1", "--samples", "200", "--executor", "inline")


def text(page: str) -> str:
    return (ROOT / page).read_text()


def blocks(page: str) -> list[str]:
    """Code of a page that needs nothing but ganbench; that of wrap-existing.md is run by tox -e thirdparty."""
    found = re.findall(r"```python\n(.*?)```", text(page), flags=re.DOTALL)
    return [block for block in found if not re.search(r"import pytorch_lightning|from lit_gan", block)]


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
    board = pd.read_csv(tmp_path / "ganbench-results/leaderboard.csv")
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


@pytest.mark.parametrize("name", ["ganbench_lightning.py", "lit_gan.py"])
def test_the_page_on_wrapping_shows_its_example(name: str) -> None:
    assert (ROOT / "examples" / "ganbench-lightning" / name).read_text() in text("docs/tutorials/wrap-existing.md")


def test_every_hook_is_documented() -> None:
    hooks = [name for name in vars(hookspecs) if name.startswith("ganbench_")]
    assert len(hooks) == 6
    for name in hooks:
        assert name in text("docs/plugins.md"), f"docs/plugins.md does not mention {name}"


def test_every_command_is_in_the_readme() -> None:
    for name in cli.commands:
        assert f"ganbench {name}" in text("README.md"), f"README.md does not mention ganbench {name}"


def flags(command: click.Command) -> set[str]:
    return {flag for option in command.params for flag in option.opts if flag.startswith("-")}


def mentions(page: str, option: str) -> bool:
    """Whether an option stands in a text, and not merely as a part of another one's name."""
    return re.search(rf"(?<![\w-]){option}(?![\w-])", page) is not None


def unexplained(commands: Mapping[str, click.Command], places: list[str]) -> list[str]:
    """Options that stand on no page, and in no section of the README, that names their command.

    An option that several commands have with the same words of help is explained with any of them.
    """
    sharing: dict[tuple[str, str], list[str]] = {}
    for name, command in commands.items():
        for option in command.params:
            for flag in (flag for flag in option.opts if flag.startswith("--")):
                sharing.setdefault((flag, getattr(option, "help", "")), []).append(name)
    return [
        f"{flag} of ganbench {', '.join(names)}"
        for (flag, _), names in sharing.items()
        if not any(mentions(p, flag) and any(mentions(p, f"ganbench {name}") for name in names) for p in places)
    ]


def test_every_option_is_explained_where_its_command_is_named() -> None:
    assert mentions("`--no`, `-n`", "--no") and not mentions("--no-plugin NAME", "--no")
    places = [*re.split(r"^#+ ", text("README.md"), flags=re.MULTILINE), *map(text, PAGES[1:])]
    assert unexplained(cli.commands, places) == []


def test_an_option_explained_with_another_command_is_missing() -> None:
    def command(help: str) -> click.Command:
        return click.Command("x", params=[click.Option(["--jobs"], help=help)])

    places = ["ganbench run --jobs", "ganbench tune", "ganbench report"]
    commands = {"run": command("At a time."), "tune": command("At a time."), "report": command("Of it.")}
    assert unexplained(commands, places) == ["--jobs of ganbench report"]


def parse(line: str) -> None:
    """Raise unless a command of the documentation exists and knows its options; values are not looked at."""
    name, *words = shlex.split(re.sub(r" {3,}\S.*|#.*|[][]", "", line.strip()))[1:]  # without the remark beside it
    if name.startswith("-"):
        return
    command = cli.commands.get(name)
    assert command is not None, f"{line}: there is no ganbench {name}"
    for word in words:
        if re.match(r"--?[a-z]", word):
            assert word in flags(command), f"{line}: ganbench {name} has no {word}"


def test_commands_of_the_documentation_exist() -> None:
    shown = [line for page in PAGES for line in re.findall(r"^ {4}ganbench .*", text(page), flags=re.MULTILINE)]
    within = [span for page in PAGES for span in re.findall(r"`(ganbench [a-z][^`\n]*)`", text(page))]
    assert len(shown) > 50 and len(within) > 30
    for line in [*shown, *within]:
        parse(line)
    for wrong in ("ganbench rnu", "ganbench run --nonsense", "ganbench report -p dcgan", "ganbench list --seeds 3"):
        with pytest.raises(AssertionError):
            parse(wrong)


def tables(page: str) -> list[tuple[list[str], list[list[str]]]]:
    """The tables of a page: the heads of the columns, and the cells of each row."""
    found = []
    for table in re.findall(r"(?:^\|.*\|\n)+", text(page), re.MULTILINE):
        heads, _, *rows = [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()]
        found.append((heads, rows))
    return found


def described(page: str, columns: Callable[[list[str]], list[str]]) -> set[str]:
    """What stands by its whole name in the first cell of a row whose cells in these columns are not empty."""
    return {
        name
        for heads, rows in tables(page)
        for row in rows
        if (asked := columns(heads)) and all(row[heads.index(one)] for one in asked)
        for name in re.findall(r"`([^`]+)`", row[0])
    }


def offered(modules: str) -> set[str]:
    return {p.name for p in entry_points(group="ganbench") if p.value.startswith(modules)}


def test_every_metric_has_its_formula_its_source_and_its_row() -> None:
    metrics = offered("ganbench.metrics.")
    assert len(metrics) > 20
    proved = described("docs/protocol.md", lambda heads: ["formula", "source"] if heads[0] == "metric" else [])
    assert metrics - proved == set(), "docs/protocol.md"
    row = described("docs/metrics.md", lambda heads: heads if heads[0] == "metric" else [])
    assert metrics - row == set(), "docs/metrics.md"


def test_every_statistic_has_its_source() -> None:
    for page in ("docs/protocol.md", "docs/statistics.md"):
        (rows,) = [rows for heads, rows in tables(page) if heads[0] == "what" and heads[2] == "source"]
        assert len(rows) > 5 and all(len(row) == 3 and all(row) for row in rows), page


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, "CONTRIBUTING.md", "results/README.md", "examples/README.md"]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text(page)):
            path = ((ROOT / page).parent / target).resolve()
            assert path.exists(), f"{page} links to {target}"
            # The site has no other files.
            assert not page.startswith("docs/") or path.is_relative_to(ROOT / "docs"), f"{page} links to {target}"


def test_every_variant_and_dataset_has_its_row() -> None:
    said = {"what it is", "how it fails", "how to get it"}  # which tables of scores do not have
    for page, modules in (("docs/variants.md", "ganbench_plugins."), ("docs/datasets.md", "ganbench.datasets.")):
        rows = described(page, lambda heads: sorted(said & set(heads)))
        assert offered(modules) and offered(modules) - rows == set(), page
