"""A plugin package from ``ganbench new`` works as it is written: installed, checked and ranked."""

from __future__ import annotations

import ast
import json
import os
import re
import site
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ganbench.cli.new import BASES, KINDS

Ganbench = Callable[..., "subprocess.CompletedProcess[str]"]

QUICK = ("--seeds", "1", "--images", "1280", "--evaluations", "2", "--samples", "100")
SHOWN = {
    "variant": ("run", "--plugins", "my-gan,dcgan", "--metrics", "coverage", *QUICK),
    "dataset": ("run", "--plugins", "vanilla", "--datasets", "my-gan", "--metrics", "coverage", *QUICK),
    "metric": ("run", "--plugins", "vanilla", "--metrics", "my-gan", *QUICK),
    "extractor": ("run", "--plugins", "vanilla", "--extractor", "my-gan", "--metrics", "coverage", *QUICK),
    "reporter": ("run", "--plugins", "vanilla", "--metrics", "coverage", *QUICK),
}


def lines_of_code(text: str) -> int:
    """Lines that hold code: no blank line, no comment, no docstring."""
    tree = ast.parse(text)
    held = {node.lineno for node in ast.walk(tree) if isinstance(node, ast.expr | ast.stmt | ast.arg | ast.alias)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            held -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(held)


def test_a_gan_of_a_library_enters_in_under_60_lines() -> None:
    path = Path(__file__).parents[2] / "examples" / "ganbench-torchgan" / "ganbench_torchgan.py"
    assert lines_of_code(path.read_text()) < 60


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_is_complete(kind: str, ganbench: Ganbench, tmp_path: Path) -> None:
    result = ganbench("new", "my-gan", "--kind", kind)
    assert result.returncode == 0, result.stderr
    assert "pip install -e" in result.stdout and "ganbench check my-gan" in result.stdout
    folder = tmp_path / "ganbench-my-gan"
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {
        "pyproject.toml",
        "ganbench_my_gan.py",
        "tests/test_ganbench_my_gan.py",
        "tox.ini",
        "README.md",
        ".github/workflows/ci.yml",
        ".gitignore",
    }
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["project"]["name"] == "ganbench-my-gan"
    (points,) = project["project"]["entry-points"].values()
    assert points["my-gan"].partition(":")[0] == "ganbench_my_gan"
    readme = (folder / "README.md").read_text()
    assert f"[project.entry-points.{KINDS[kind][0]}]" in readme and not re.search(r"&#?\w+;", readme)
    assert "expected_failed_checks" in readme
    assert "expected" not in (folder / "tests/test_ganbench_my_gan.py").read_text()  # check would not read it there
    assert lines_of_code((folder / "ganbench_my_gan.py").read_text()) <= 40
    assert not any("{{" in (folder / name).read_text() for name in found if not name.endswith("ci.yml"))
    compiled = subprocess.run([sys.executable, "-m", "compileall", "-q", str(folder)], capture_output=True)
    assert compiled.returncode == 0


@pytest.mark.parametrize("base", BASES)
def test_a_variant_begins_with_the_networks_that_were_asked_for(base: str, ganbench: Ganbench, tmp_path: Path) -> None:
    assert ganbench("new", "my-gan", "--base", base).returncode == 0
    module = tmp_path / "ganbench-my-gan" / "ganbench_my_gan.py"
    assert lines_of_code(module.read_text()) <= 40
    checked = ganbench("check", "my-gan", "--plugin-path", str(module), "--checks", "shapes_and_dtypes,exact_resume")
    assert checked.returncode == 0 and "my-gan: 2 passed" in checked.stdout, checked.stdout
    assert ("unsuitable: points" in checked.stdout) == (base != "points")


def test_a_base_is_of_a_variant(ganbench: Ganbench) -> None:
    refused = ganbench("new", "my-set", "--kind", "dataset", "--base", "residual")
    assert refused.returncode == 2 and "networks of a variant, not of a dataset" in refused.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("My GAN", "my-gan, perhaps?"),
        ("../up", "not a valid name"),
        ("nan", "take it for a value"),
        ("my-gan-", "ends with a letter or a digit"),
        ("dcgan", "offered by ganbench already"),
        ("plugins", "module ganbench_plugins, which ganbench has already"),
        ("reference", "module ganbench_reference, which ganbench has already"),
        ("ganbench-my-gan", "ganbench new my-gan"),
        ("ganbench-", "names no plugin"),
        ("taken", "exists already, and is left as it is"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(name: str, said: str, ganbench: Ganbench, tmp_path: Path) -> None:
    (tmp_path / "ganbench-taken").mkdir()
    result = ganbench("new", name)
    assert result.returncode == 2 and said in result.stderr and "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["ganbench-taken"]
    assert not list((tmp_path / "ganbench-taken").iterdir())


def test_a_name_that_is_no_class_of_python_gets_one(ganbench: Ganbench, tmp_path: Path) -> None:
    assert ganbench("new", "3d-gan").returncode == 0
    assert "class Variant3dGAN(GAN)" in (tmp_path / "ganbench-3d-gan" / "ganbench_3d_gan.py").read_text()


def test_a_dot_in_a_name_is_no_table_of_the_project_file(ganbench: Ganbench, tmp_path: Path) -> None:
    assert ganbench("new", "my.gan").returncode == 0
    project = tomllib.loads((tmp_path / "ganbench-my.gan" / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {"ganbench": {"my.gan": "ganbench_my_gan"}}


def test_a_folder_that_is_no_package_takes_no_name(ganbench: Ganbench, tmp_path: Path) -> None:
    (tmp_path / "ganbench_free").mkdir()
    assert ganbench("new", "free").returncode == 0
    (tmp_path / "ganbench_held.py").touch()
    result = ganbench("new", "held")
    assert result.returncode == 2 and "ganbench_held.py is already" in result.stderr


def test_the_help_installs_what_its_tests_need(ganbench: Ganbench) -> None:
    assert "pip install -e '.[test]' && pytest" in ganbench("new", "--help").stdout


def test_a_new_variant_is_ranked(ganbench: Ganbench, tmp_path: Path) -> None:
    """The fast form: the module as --plugin-path; pip and pytest are in the slow one."""
    assert ganbench("new", "my-gan").returncode == 0
    module = tmp_path / "ganbench-my-gan" / "ganbench_my_gan.py"
    result = ganbench(*SHOWN["variant"], "--plugin-path", str(module), "--executor", "inline")
    assert result.returncode == 0, result.stderr
    board = pd.read_csv(tmp_path / "ganbench-results/leaderboard.csv")
    assert set(board.variant) == {"my-gan", "dcgan"} and board["rank"].notna().all() and not board.failed.any()


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment of its own, in which everything is found that is installed here; its python."""
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    here = [path for path in sys.path if path.endswith("site-packages")] or site.getsitepackages()
    lines = "".join(f"import site; site.addsitedir({path!r})\n" for path in here)
    (packages / "here.pth").write_text(lines)
    return folder / "bin" / "python"


@pytest.mark.slow  # pytest -m slow tests/cli/test_new.py
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_installs_passes_its_tests_and_is_used(
    kind: str, ganbench: Ganbench, environment: Path, tmp_path: Path
) -> None:
    assert ganbench("new", "my-gan", "--kind", kind).returncode == 0
    folder = tmp_path / "ganbench-my-gan"

    def python(*arguments: str) -> str:
        kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTEST_ADDOPTS")}
        done = subprocess.run(
            [str(environment), "-m", *arguments], cwd=folder, env=kept, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        return done.stdout

    python("pip", "install", "--quiet", "--no-index", "--no-build-isolation", "--no-deps", "-e", ".")
    assert " passed" in python("pytest", "-p", "no:cacheprovider", "-q")
    checked = json.loads(python("ganbench", "check", "my-gan", "--kind", kind, "--json"))
    (plugin,) = checked["plugins"]
    assert plugin["passed"] and plugin["distribution"] == "ganbench-my-gan" and plugin["version"] == "0.1.0"
    python("ganbench", *SHOWN[kind])
    board = pd.read_csv(folder / "ganbench-results/leaderboard.csv")
    assert board["rank"].notna().any() and not board.failed.any()
    if kind == "variant":
        assert set(board.variant) == {"my-gan", "dcgan"} and board["rank"].notna().all()
    elif kind == "dataset":
        assert set(board.dataset) == {"my-gan"}
    elif kind == "metric":
        assert board["my-gan"].notna().all()
    elif kind == "extractor":
        assert set(board.extractor) == {"my-gan"}
    else:
        python("ganbench", "report", "--format", "my-gan")
        assert (
            json.loads((folder / "ganbench-results/my-gan.jsonl").read_text().splitlines()[0])["variant"] == "vanilla"
        )
