"""The one import order, no privileges for what ships here, and commands that must stay light."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
import time
import tomllib
from graphlib import TopologicalSorter
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from ganbench.cli import cli

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "ganbench"

# Every package of ganbench, the lowest first, with those below it that it may import: as in docs/architecture.md.
MAY_IMPORT = {
    "utils": "",
    "plugin": "utils",
    "results": "utils",
    "toolkit": "plugin utils",
    "metrics": "plugin utils",
    "datasets": "plugin utils",
    "extractors": "plugin utils",
    "discovery": "plugin results utils",
    "analysis": "results utils",
    "harness": "discovery metrics datasets extractors plugin results utils",
    "reporters": "analysis discovery metrics plugin results utils",
    "observers": "reporters analysis plugin results utils",
    "conformance": "reporters harness discovery datasets extractors metrics plugin results utils",
    "tuning": "reporters analysis discovery plugin results utils",
    "scoring": "harness discovery metrics datasets extractors plugin results utils",
    "executors": "conformance harness discovery metrics datasets extractors plugin results utils",
    "runner": "executors scoring reporters analysis harness discovery plugin results utils",
    "cli": "runner executors scoring tuning conformance reporters harness analysis discovery extractors "
    "plugin results utils",
}


def room(name: str) -> str:
    """``ganbench.metrics.frechet`` is in the room ``metrics``; ``ganbench`` itself is ``__init__``."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(path: Path) -> set[str]:
    """Every module of ganbench or its plugins that a file imports, inside functions too, but not for a type checker."""
    found: set[str] = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} uses a relative import"
            module = node.module or ""
            for alias in node.names:
                child = ROOT.joinpath(*module.split("."), alias.name)
                is_module = child.with_suffix(".py").exists() or child.is_dir()
                found.add(f"{module}.{alias.name}" if is_module else module)
    return {name for name in found if name.split(".")[0] in ("ganbench", "ganbench_plugins")}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_package_imports_only_what_stands_below_it(path: Path) -> None:
    here = room(name_of(path))
    for name in imports(path):
        assert not name.startswith("ganbench_plugins"), f"{path} imports {name}: the core does not know its plugins"
        there = room(name)
        if there == here:
            continue
        # The package's own top level holds the version, and names that load when they are used; __main__ starts cli.
        if here in ("__init__", "__main__") or there == "__init__":
            continue
        assert there in MAY_IMPORT[here].split(), f"{path}: {here} imports {there}"


def test_the_table_names_every_package_above_what_it_imports() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert set(MAY_IMPORT) == folders
    order = list(MAY_IMPORT)
    for package, below in MAY_IMPORT.items():
        assert all(order.index(one) < order.index(package) for one in below.split()), package


def test_nothing_else_stands_beside_the_packages() -> None:
    assert {path.name for path in PACKAGE.iterdir() if path.is_file()} == {"__init__.py", "__main__.py", "py.typed"}


def test_no_modules_import_each_other_in_a_circle() -> None:
    arrows = {name_of(path): imports(path) & {*map(name_of, FILES)} for path in FILES}
    order = TopologicalSorter({name: targets - {name, "ganbench"} for name, targets in arrows.items()}).static_order()
    assert {*map(name_of, FILES)} <= set(order)  # raises CycleError for a circle


@pytest.mark.parametrize("folder", [path.parent for path in FILES if path.name == "__init__.py"], ids=lambda p: p.name)
def test_every_package_says_what_belongs_in_it(folder: Path) -> None:
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    assert len(said.splitlines()) >= 2, f"{folder.name}/__init__.py: what belongs here, and what does not?"


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").glob("*.py")), ids=lambda p: p.stem)
def test_plugins_use_only_what_authors_use(path: Path) -> None:
    assert imports(path) <= {"ganbench.plugin", "ganbench.toolkit"} | {
        f"ganbench_plugins.{base.stem}" for base in (ROOT / "plugins").glob("*.py")
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        *([name, "--help"] for name in cli.commands),
    ],
    ids=" ".join,
)
def test_help_is_light(arguments: list[str]) -> None:
    code = (
        "import sys; sys.argv = ['ganbench', *sys.argv[1:]]\n"
        "from ganbench.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'pandas', 'scipy', 'numpy', 'sklearn', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


def test_help_answers_in_a_quarter_of_the_time_that_torch_takes_to_import() -> None:
    def seconds(*command: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        return time.perf_counter() - start

    pairs = [(seconds("-m", "ganbench", "--help"), seconds("-c", "import torch")) for _ in range(3)]
    assert min(ours for ours, _ in pairs) < min(torch for _, torch in pairs) / 4


@pytest.mark.parametrize(
    "code",
    [
        "import ganbench",
        "from ganbench.plugin import hookimpl, Metric, Dataset, Extractor, Reporter, NotApplicable, Range",
        "import ganbench; ganbench.leaderboard, ganbench.compare, ganbench.load_results",
        "import ganbench.results.store, ganbench.analysis.comparison, ganbench.runner.session",
        "import ganbench.reporters.terminal, ganbench.reporters.report, ganbench.reporters.comparison_page",
        "from ganbench.cli import compare, merge, report, rescore, sample, selftest, show, tune, verify",
        "from ganbench.reporters import load_reporters, DEFAULT; load_reporters(DEFAULT)",
        "import ganbench.executors.local",
    ],
)
def test_what_brings_no_torch(code: str) -> None:
    subprocess.run([sys.executable, "-c", f"{code}\nimport sys\nassert 'torch' not in sys.modules"], check=True)


def test_packages_and_entry_points_match_the_folders() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    on_disk = {".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py")}
    assert set(project["tool"]["setuptools"]["packages"]) == on_disk | {"ganbench_plugins", "ganbench_reference"}
    declared = project["project"]["entry-points"]["ganbench"]
    variants = {path.stem for path in (ROOT / "plugins").glob("*.py")} - {"__init__"}
    assert {v.split(".")[1] for v in declared.values() if v.startswith("ganbench_plugins")} == variants


def test_every_offer_has_an_entry_point_of_its_name() -> None:
    """Otherwise asking for it would import everything that is installed."""
    from ganbench.discovery.loader import discover

    installed = {point.name for point in entry_points(group="ganbench")}
    own = [offer for offer in discover().offers.values() if offer.distribution == "ganbench"]
    assert {offer.name for offer in own} <= installed
    assert len(own) > 15


def test_public_names_exist() -> None:
    import ganbench
    import ganbench.conformance
    import ganbench.metrics
    import ganbench.plugin
    import ganbench.toolkit

    for module in (ganbench, ganbench.plugin, ganbench.metrics, ganbench.conformance, ganbench.toolkit):
        for name in module.__all__:
            assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="offers"):
        ganbench.plugin.nothing  # noqa: B018


PAGE = (ROOT / "docs" / "architecture.md").read_text()
NAMED = sorted({*re.findall(r"`(\w[\w/]*/(?:\w+\.py(?::\w+)?)?)`", PAGE)})  # folders, files, file.py:function


@pytest.mark.parametrize("named", NAMED)
def test_the_page_names_what_exists(named: str) -> None:
    name, _, function = named.partition(":")
    path = next((base / name for base in (PACKAGE, ROOT) if (base / name).exists()), None)
    assert path is not None, f"docs/architecture.md: there is no {name}"
    if function:
        defined = {getattr(node, "name", None) for node in ast.parse(path.read_text()).body}
        assert function in defined, f"docs/architecture.md: {name} defines no {function}"


def test_the_page_has_the_table_of_packages_and_todays_picture() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([`\w, ]*)\|$", PAGE, flags=re.M)
    assert {name: sorted(re.findall(r"\w+", below)) for name, below in rows} == {
        name: sorted(below.split()) for name, below in MAY_IMPORT.items()
    }
    script = runpy.run_path(str(ROOT / "docs" / "architecture.py"))
    drawn = (ROOT / "docs" / "assets" / "architecture.svg").read_text()
    assert script["draw"](script["imports"]()) == drawn, "draw it again: python docs/architecture.py"
    assert len(NAMED) > 50
