"""The one import order, no privileges for what ships here, and commands that must stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "ganbench"

# A module imports only from modules in earlier lines, or earlier in its own line.
ORDER = """
errors canonical failpoints files interruption names kinds hyperparameters variant hookspecs plugin __init__
bias spec schema planning records rescored store locating
statistics thresholds measures stability frames trials_csv tiers ranking aggregation findings comparison
budgets proposals digest
installed rehearsal catalog discovery sources seeding tree
datasets extractors metrics toolkit observers
state telemetry precision tracing stack real values evaluation reference training lockstep
environment artifacts pictures memory reasons ground trial cohort stored describe
reporters reporting notebooks conformance jobs executors
display showing sampling asking floors estimates running preview scheduler listing observing sweep
conforming scaffolding rescoring merging tuning_tables tuning selftest agreement verifying
archives samples sides cache progress scoring scorecard
config options looking marking joining searching auditing authoring cli __main__ pytest_plugin
""".split()  # noqa: SIM905 - floors read better than a list
# Rooms on one floor: they do not import each other.
APART = {"datasets", "extractors", "metrics", "toolkit", "observers"}


def room(name: str) -> str:
    """``ganbench.metrics.frechet`` is in the room ``metrics``; ``ganbench`` itself is ``__init__``."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(path: Path) -> set[str]:
    """Every module of ganbench or its plugins that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} uses a relative import"
            module = node.module or ""
            if module in ("ganbench", "ganbench.metrics", "ganbench.datasets", "ganbench.executors"):
                for alias in node.names:
                    child = PACKAGE.joinpath(*module.split(".")[1:], alias.name)
                    is_module = child.with_suffix(".py").exists() or child.is_dir()
                    found.add(f"{module}.{alias.name}" if is_module else module)
            else:
                found.add(module)
    return {name for name in found if name.split(".")[0] in ("ganbench", "ganbench_plugins")}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


FILES = sorted(PACKAGE.rglob("*.py"))


def is_type_checking(path: Path, name: str) -> bool:
    """Whether ``name`` is imported only for a type checker."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            inner = {n.module for n in ast.walk(node) if isinstance(n, ast.ImportFrom)}
            if name in inner:
                return True
    return False


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    here = room(name_of(path))
    assert here in ORDER, f"{here} has no place in the import order"
    for name in imports(path):
        assert not name.startswith("ganbench_plugins"), f"{path} imports {name}: the core does not know its plugins"
        there = room(name)
        if there == here or is_type_checking(path, name):
            continue
        # The package's own top level holds the version alone; anything may read that.
        assert there == "__init__" or ORDER.index(there) < ORDER.index(here), f"{path}: {here} imports {there}"
        assert not {here, there} <= APART, f"{path}: {here} and {there} are rooms of one floor"


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").glob("*.py")), ids=lambda p: p.stem)
def test_plugins_use_only_what_authors_use(path: Path) -> None:
    assert imports(path) <= {"ganbench.plugin", "ganbench.toolkit"} | {
        f"ganbench_plugins.{base.stem}" for base in (ROOT / "plugins").glob("*.py")
    }


def test_the_order_names_every_room() -> None:
    rooms = {room(name_of(path)) for path in FILES}
    assert rooms == set(ORDER)


@pytest.mark.parametrize("path", [*FILES, *sorted((ROOT / "plugins").glob("*.py"))], ids=name_of)
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 260


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        *([name, "--help"] for name in ("run", "list", "report", "compare", "merge", "score", "rescore", "tune")),
        *([name, "--help"] for name in ("selftest", "verify", "new", "check", "show", "sample")),
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
        "import ganbench.cli.rescore, ganbench.runner.session, ganbench.reporters.terminal, ganbench.reporters.report, ganbench.analysis.comparison",
        "import ganbench.cli.merge, ganbench.analysis.trials_csv, ganbench.cli.tune",
        "import ganbench.cli.selftest, ganbench.cli.verify",
        "import ganbench.cli.show, ganbench.cli.sample, ganbench.reporters.versus",
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
    import ganbench.metrics
    import ganbench.plugin

    for module in (ganbench, ganbench.plugin, ganbench.metrics):
        for name in module.__all__:
            assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="offers"):
        ganbench.plugin.nothing  # noqa: B018
