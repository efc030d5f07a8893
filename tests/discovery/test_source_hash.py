"""The source hash: it moves with everything that a variant imports or reads, and with nothing else."""

from __future__ import annotations

import base64
import hashlib
import importlib
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganbench.discovery.entry_points import Point
from ganbench.discovery.source_hash import source_hash, sources
from ganbench.utils.errors import UsageError

VARIANT = """
from ganbench.plugin import Variant

class Mine(Variant):
    name = "mine"
    {data}

    def build(self):
        {lazy}
"""


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Modules that a test imported are forgotten after it."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]
    importlib.invalidate_caches()


def load(folder: Path, text: str = "", lazy: str = "pass", data: str = "pass") -> type:
    """The class in ``mine.py``, as ``--plugin-path`` loads it."""
    path = folder / "mine.py"
    path.write_text(text + VARIANT.format(lazy=lazy, data=data))
    importlib.invalidate_caches()
    module = Point("mine", "mine.py", "ganbench_file_mine", "file:mine.py", path=path).load()
    return module.Mine  # type: ignore[no-any-return]


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def test_a_file_that_builds_on_ganbench_alone_is_its_own_sha256(tmp_path: Path) -> None:
    cls = load(tmp_path, "import json\nimport numpy\nfrom torch import nn\nfrom scipy import stats\nimport pandas\n")
    write(tmp_path / "other.py", "X = 1")  # nothing imports it
    content = (tmp_path / "mine.py").read_bytes()
    assert source_hash(cls, "file:mine.py") == hashlib.sha256(content).hexdigest()
    (tmp_path / "mine.py").write_bytes(content.replace(b"\n", b"\r\n"))  # as a checkout on Windows has it
    assert source_hash(cls, "file:mine.py") == hashlib.sha256(content).hexdigest()


EXTENSION = f"fast{sysconfig.get_config_var('EXT_SUFFIX')}"
BESIDE = {  # what the plugin says, in the text or in a method, and the file that it leads to
    "a helper": ("import helper", "", "helper.py"),
    "a name of a helper": ("from helper import W", "", "helper.py"),
    "in a method": ("", "import helper", "helper.py"),
    "under a condition": ("try:\n    import cupy\nexcept ImportError:\n    import helper", "", "helper.py"),
    "import_module": ("import importlib", "importlib.import_module('helper')", "helper.py"),
    "a helper's helper": ("import outer", "", "helper.py"),
    "a module of a package": ("from kit import helper", "", "kit/helper.py"),
    "a package": ("import kit.helper", "", "kit/__init__.py"),
    "a namespace": ("from space.inner import helper", "", "space/inner/helper.py"),
    "everything of a package": ("from kit import *", "", "kit/helper.py"),
    "an extension": ("", "import fast", EXTENSION),
    "a name of the standard library": ("import statistics", "", "statistics.py"),
}


@pytest.mark.parametrize("case", BESIDE)
def test_code_that_it_imports_counts(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, lazy, file = BESIDE[case]
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("helper.py", "kit/helper.py", "space/inner/helper.py", "statistics.py", EXTENSION):
        write(tmp_path / name, "W = 8\n")
    write(tmp_path / "kit/__init__.py", "__all__ = ['helper']\n")
    write(tmp_path / "outer.py", "import helper\n")
    if case == "a name of the standard library":
        monkeypatch.delitem(sys.modules, "statistics", raising=False)
    cls = load(tmp_path, f"{text}\n", lazy or "pass")
    before = source_hash(cls, "file:mine.py")
    assert source_hash(cls, "file:mine.py") == before
    path = tmp_path / file
    path.write_text(path.read_text() + "V = 64\n")
    assert source_hash(cls, "file:mine.py") != before


def test_a_helper_is_seen_though_the_plugin_itself_made_its_folder_importable(tmp_path: Path) -> None:
    write(tmp_path / "helper.py", "W = 8\n")
    try:
        cls = load(tmp_path, "import sys, os\nsys.path.insert(0, os.path.dirname(__file__))\nimport helper\n")
    finally:
        sys.path[:] = [entry for entry in sys.path if entry != str(tmp_path)]
    before = source_hash(cls, "file:mine.py")
    write(tmp_path / "helper.py", "W = 64\n")
    assert source_hash(cls, "file:mine.py") != before


def install(root: Path, name: str, version: str, code: str, requires: str = "") -> None:
    """A distribution as pip leaves it."""
    write(root / name / "__init__.py", code)
    digest = base64.urlsafe_b64encode(hashlib.sha256(code.encode()).digest()).decode().rstrip("=")
    for old in root.glob(f"{name}-*.dist-info/*"):
        old.unlink()
        if not any(old.parent.iterdir()):
            old.parent.rmdir()
    info = root / f"{name}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    write(info / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
    write(info / "RECORD", f"{name}/__init__.py,sha256={digest},{len(code)}\n{name}-{version}.dist-info/RECORD,,\n")
    importlib.invalidate_caches()


@pytest.mark.parametrize("change", [("1.1", "X = 1\n"), ("1.0", "X = 2\n")], ids=["version", "code"])
@pytest.mark.parametrize("which", ["layers", "below"])
def test_another_distribution_that_it_imports_counts_and_what_that_requires(
    which: str, change: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, here = tmp_path / "site", tmp_path / "here"
    here.mkdir()
    monkeypatch.syspath_prepend(str(site))
    install(site, "below", "1.0", "X = 1\n")
    install(site, "layers", "1.0", "X = 1\n", requires="below>=1")
    install(site, "stranger", "1.0", "X = 1\n")
    cls = load(here, "import layers\n")
    before = source_hash(cls, "file:mine.py")
    install(site, "stranger", "2.0", "X = 2\n")
    assert source_hash(cls, "file:mine.py") == before
    version, code = change
    install(site, which, version, code, requires="below>=1" if which == "layers" else "")
    assert source_hash(cls, "file:mine.py") != before


def test_declared_data_files_count_and_one_that_is_missing_is_named(tmp_path: Path) -> None:
    write(tmp_path / "tables" / "widths.json", "[8]")
    cls = load(tmp_path, data='data_files = ("tables/widths.json",)')
    before = source_hash(cls, "file:mine.py")
    write(tmp_path / "tables" / "widths.json", "[64]")
    assert source_hash(cls, "file:mine.py") != before
    (tmp_path / "tables" / "widths.json").unlink()
    with pytest.raises(UsageError, match=r"mine: data_files names 'tables/widths.json', but .*widths.json cannot be"):
        source_hash(cls, "file:mine.py")


def test_a_module_with_a_syntax_error_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would import cannot be read; its own text can."""
    monkeypatch.syspath_prepend(str(tmp_path))
    write(tmp_path / "helper.py", "print 'an old Python'\n")
    cls = load(tmp_path, lazy="import helper")
    found = sources(cls, "file:mine.py")
    assert set(found.contents) == {"ganbench_file_mine", "helper"} and not found.others
