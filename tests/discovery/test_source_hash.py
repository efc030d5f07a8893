"""The source hash follows what a plugin really imports and declares, and stays where nothing else is imported."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganbench.discovery import imports
from ganbench.discovery.entry_points import Point
from ganbench.discovery.source_hash import source_hash
from ganbench.utils.errors import UsageError

FILE = "file:mine.py"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on ``sys.path``; what a test imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    imports._owners.cache_clear()
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith(("ganbench_file_", "helper", "pack")):
            del sys.modules[name]


def hashed(folder: Path, text: str) -> str:
    """The hash of the class C in ``mine.py``, read anew."""
    path = folder / "mine.py"
    path.write_text(text)
    importlib.invalidate_caches()
    sys.modules.pop("ganbench_file_mine", None)
    module = Point("mine", "mine.py", "ganbench_file_mine", FILE, path=path).load()
    return source_hash(module.C, FILE)


def test_a_file_that_builds_on_dependencies_alone_keeps_its_own_sha_256(folder: Path) -> None:
    text = "import json\nimport numpy\nimport sklearn\nimport PIL.Image\nfrom torch import nn\nclass C: pass\n"
    assert hashed(folder, text) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        "import helper\nclass C: pass\n",
        "from helper import *\nclass C: pass\n",
        "class C:\n    def build(self):\n        import helper\n",
        "import importlib\nclass C:\n    def build(self):\n        return importlib.import_module('helper')\n",
        "try:\n    import helper\nexcept ImportError:\n    pass\nclass C: pass\n",
        "class C:\n    def build(self):\n        return __import__('helper')\n",
        "import pack\nclass C: pass\n",
        "import pack.inner\nclass C: pass\n",
        "from space import helper2\nclass C: pass\n",
    ],
)
def test_whatever_is_imported_from_beside_it_counts(folder: Path, text: str) -> None:
    (folder / "helper.py").write_text("W = 8\n")
    for name, content in {"pack": "from . import inner\n", "space": None}.items():
        (folder / name).mkdir()
        if content is not None:
            (folder / name / "__init__.py").write_text(content)
    (folder / "pack" / "inner.py").write_text("import helper\n")  # a helper's helper
    (folder / "space" / "helper2.py").write_text("import helper\n")
    before = hashed(folder, text)
    assert hashed(folder, text) == before
    (folder / "helper.py").write_text("W = 64\n")
    assert hashed(folder, text) != before


def test_a_helper_with_the_name_of_a_standard_module_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    (folder / "this.py").write_text("W = 8\n")
    text = "class C:\n    def build(self):\n        import this\n"
    before = hashed(folder, text)
    (folder / "this.py").write_text("W = 9\n")
    assert hashed(folder, text) != before


def test_a_helper_beside_it_counts_before_its_folder_is_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "helper9.py").write_text("W = 8\n")
    text = "class C:\n    def build(self):\n        import helper9\n"
    before = hashed(tmp_path, text)
    (tmp_path / "helper9.py").write_text("W = 9\n")
    assert hashed(tmp_path, text) != before


def test_another_distribution_counts_with_its_version_and_files(folder: Path) -> None:
    info = folder / "pack_of_others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pack-of-others\nVersion: 1.0\n")
    (info / "RECORD").write_text("packo/__init__.py,,\npacko/deep.py,,\n")
    (folder / "packo").mkdir()
    (folder / "packo" / "__init__.py").write_text("")
    (folder / "packo" / "deep.py").write_text("W = 8\n")
    text = "class C:\n    def build(self):\n        import packo\n"
    found = [hashed(folder, text)]
    (folder / "packo" / "deep.py").write_text("W = 9\n")
    found.append(hashed(folder, text))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pack-of-others\nVersion: 1.1\n")
    found.append(hashed(folder, text))
    assert len(set(found)) == 3


def test_a_compiled_module_counts(folder: Path) -> None:
    from importlib.machinery import EXTENSION_SUFFIXES

    compiled = folder / f"fast{EXTENSION_SUFFIXES[0]}"
    compiled.write_bytes(b"one")
    text = "class C:\n    def build(self):\n        import fast\n"
    before = hashed(folder, text)
    compiled.write_bytes(b"two")
    assert hashed(folder, text) != before


def test_declared_data_counts_and_must_be_there(folder: Path) -> None:
    text = "class C:\n    data_files = ('w.json', 'more')\n"
    (folder / "w.json").write_text("1")
    with pytest.raises(UsageError, match=r"C\.data_files names 'more', and there is no such file in"):
        hashed(folder, text)
    (folder / "more").mkdir()
    (folder / "more" / "a").write_text("1")
    found = [hashed(folder, text)]
    (folder / "w.json").write_text("2")
    found.append(hashed(folder, text))
    (folder / "more" / "a").write_text("2")
    found.append(hashed(folder, text))
    assert len(set(found)) == 3
    with pytest.raises(UsageError, match=r"expected file names, \('weights.json',\)"):
        hashed(folder, "class C:\n    data_files = 'w.json'\n")
