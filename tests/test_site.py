"""The built site holds every hook, command, option, metric and public name, and asks no other server for anything.

tox -e docs runs this; elsewhere it is skipped unless the dependency group ``docs`` is installed.
"""

from __future__ import annotations

import ast
import html
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

from ganbench.cli import cli

pytest.importorskip("mkdocs")
pytest.importorskip("mkdocstrings")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site: GANBENCH_SITE where tox has built it already."""
    if "GANBENCH_SITE" in os.environ:
        return Path(os.environ["GANBENCH_SITE"])
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def page(site: Path, name: str) -> str:
    """The text of a page, without its tags."""
    text = (site / name).read_text()
    return html.unescape(re.sub(r"<[^>]+>", "", text))


def public(module: str) -> list[str]:
    """``__all__`` as it stands in the source: nothing heavy is imported for it. A marker has no page of its own."""
    path = ROOT / module.replace(".", "/")
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text())
    (names,) = (n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__")
    return [name for name in ast.literal_eval(names) if not name.startswith("__") and name != "hookimpl"]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("ganbench", "reference/python.html"),
        ("ganbench.plugin", "reference/plugin.html"),
        ("ganbench.conformance", "reference/conformance.html"),
        ("ganbench.toolkit", "reference/toolkit.html"),
        ("ganbench.metrics", "reference/metrics.html"),
    ],
)
def test_every_public_name_is_in_the_reference(site: Path, module: str, name: str) -> None:
    text = (site / name).read_text()
    missing = [one for one in public(module) if f'id="{module}.{one}"' not in text]
    assert missing == []


def test_every_hook_is_in_the_reference(site: Path) -> None:
    hooks = re.findall(r"^def (ganbench_\w+)", (ROOT / "ganbench/plugin/hookspecs.py").read_text(), re.MULTILINE)
    assert len(hooks) >= 6
    for hook in hooks:
        assert f'id="ganbench.plugin.hookspecs.{hook}"' in (site / "reference/hooks.html").read_text()


def test_every_command_and_option_is_in_the_reference(site: Path) -> None:
    """Each option stands in the section of its own command."""
    parts = re.split(r'<h3 id="ganbench-(\w+)">', (site / "reference/commands.html").read_text())
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert sections.keys() == cli.commands.keys()
    for name, command in cli.commands.items():
        flags = {flag for option in command.params if isinstance(option, click.Option) for flag in option.opts}
        assert flags - set(re.findall(r"<code>(-[\w-]+)", sections[name])) == set(), name


def test_everything_that_is_offered_is_on_a_page(site: Path) -> None:
    paths = list(site.rglob("*.html"))
    code = {name for path in paths for name in re.findall(r"<code>([^<]+)</code>", path.read_text())}
    words = " ".join(page(site, str(path.relative_to(site))) for path in paths)
    for point in entry_points(group="ganbench"):
        if point.value.startswith(("ganbench.metrics.", "ganbench.datasets.", "ganbench_plugins.")):
            assert point.name in code, point.name  # is and r1 are in any text
        elif point.value.startswith("ganbench."):
            assert re.search(rf"\b{re.escape(point.name)}\b", words), point.name


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    paths = list(site.rglob("*.html"))
    assert len(paths) > 20
    for path in paths:
        loaded = re.findall(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=\"?([^\" >]+)", path.read_text())
        elsewhere = [url for url in loaded if re.match(r"(https?:)?//", url)]
        assert elsewhere == [], path
