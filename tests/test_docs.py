"""What README and docs show is run as it stands there."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pandas as pd

from ganbench import hookspecs
from ganbench.cli import cli

ROOT = Path(__file__).parent.parent


def blocks(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), flags=re.DOTALL)


def test_the_plugins_of_the_documentation_run_and_are_ranked(
    install: Callable[..., Path], ganbench, tmp_path: Path
) -> None:
    (readme,) = blocks("README.md")
    variant, others = blocks("docs/plugins.md")
    install("my-lsgan", {"my_lsgan.py": readme}, {"my-lsgan": "my_lsgan"})
    install("my-gan", {"my_gan.py": variant}, {"my-gan": "my_gan"})
    site = install("my-others", {"my_others.py": others}, {"cloud": "my_others", "spread": "my_others"})
    result = ganbench(
        "run",
        "--plugins",
        "my-lsgan,my-gan",
        "--datasets",
        "digits,cloud",
        "--metrics",
        "coverage,spread",
        "--seeds",
        "1",
        "--images",
        "1280",
        "--evaluations",
        "2",
        "--samples",
        "200",
        site=site,
    )
    assert result.returncode == 0, result.stderr
    board = pd.read_csv(tmp_path / "results/leaderboard.csv")
    assert sorted(zip(board.dataset, board.variant, strict=True)) == [
        ("cloud", "my-gan"),
        ("cloud", "my-lsgan"),
        ("digits", "my-gan"),
        ("digits", "my-lsgan"),
    ]
    assert board["rank"].notna().all() and not board.failed.any()
    assert board[board.dataset == "cloud"].spread.notna().all() and board[board.dataset == "digits"].spread.isna().all()


def test_every_hook_is_documented() -> None:
    text = (ROOT / "docs/plugins.md").read_text()
    hooks = [name for name in vars(hookspecs) if name.startswith("ganbench_")]
    assert len(hooks) == 6
    for name in hooks:
        assert name in text, f"docs/plugins.md does not mention {name}"


def test_every_command_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    for name in cli.commands:
        assert f"ganbench {name}" in text, f"README.md does not mention ganbench {name}"


def test_links_lead_somewhere() -> None:
    pages = ["README.md", "results/README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
    for name in pages:
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text()):
            assert ((ROOT / name).parent / target).exists(), f"{name} links to {target}"


def test_every_variant_and_dataset_has_its_row() -> None:
    for page, kind in (("docs/variants.md", "ganbench_plugins."), ("docs/datasets.md", "ganbench.datasets.")):
        text = (ROOT / page).read_text()
        for point in entry_points(group="ganbench"):
            if point.value.startswith(kind):
                assert f"`{point.name}" in text, f"{page} does not mention {point.name}"
