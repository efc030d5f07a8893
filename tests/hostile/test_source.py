"""Nothing in the source can run what it reads: the syntax trees hold none of the ways."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "ganbench").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")])
MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "dbm", "yaml", "code"}
MODULES |= {"pty", "runpy", "xmlrpc", "h5py", "webbrowser"}
NAMES = {"eval", "exec", "compile", "__import__", "execfile"}
# By the last part of what is called, and by the whole where the last part says too little.
METHODS = {"extractall", "unpack_archive", "read_pickle", "to_pickle", "read_hdf", "popen", "load_module"}
METHODS |= {"execv", "execve", "execvp", "spawnl", "spawnv", "posix_spawn", "unsafe_load", "Markup", "from_string"}
WHOLE = {
    "os.system",
    "torch.hub.load",
    "torch.package.PackageImporter",
    "yaml.load",
    "tarfile.TarFile.extract",
    "np.fromregex",
}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def keyword(call: ast.Call, name: str) -> object:
    """A keyword's value where it is a literal; the syntax tree where it is not; None where it is not given."""
    for given in call.keywords:
        if given.arg == name:
            return given.value.value if isinstance(given.value, ast.Constant) else given.value
    return None


def found(source: str) -> Iterator[str]:
    """Each way of running data in a source text."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name.split(".")[0] in MODULES or name in ("os.system", "os.popen"))
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        last = name.rpartition(".")[2]
        if name in NAMES or (last in METHODS and name != last) or last == "Markup" or name in WHOLE:
            yield name
        if last in ("run", "Popen", "call", "check_call", "check_output") and keyword(node, "shell") not in (
            None,
            False,
        ):
            yield f"{name}(shell=...)"
        if name == "torch.load" and keyword(node, "weights_only") is not True:
            yield "torch.load without weights_only=True"
        if keyword(node, "allow_pickle") not in (None, False):
            yield f"{name}(allow_pickle=...)"
        if last == "Environment" and keyword(node, "autoescape") is not True:
            yield "a template environment without autoescape=True"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_way_to_run_data(path: Path) -> None:
    assert list(found(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.numpy_pickle",
        "from os import system",
        "import os\nos.system('x')",
        "eval('1')",
        "exec(open('x').read())",
        "__import__('os')",
        "import torch\ntorch.load('x')",
        "import torch\ntorch.load('x', weights_only=False)",
        "import torch\ntorch.load('x', weights_only=flag)",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import numpy as np\nnp.lib.format.read_array(f, allow_pickle=flag)",
        "import pandas as pd\npd.read_pickle('x')",
        "import subprocess\nsubprocess.run('x', shell=True)",
        "import tarfile\ntarfile.open('x').extractall(filter='data')",
        "import shutil\nshutil.unpack_archive('x')",
        "import torch\ntorch.hub.load('x', 'y')",
        "from jinja2 import Environment\nEnvironment()",
        "from markupsafe import Markup\nMarkup('x')",
    ],
)
def test_each_way_is_seen(source: str) -> None:
    assert list(found(source))


def test_what_is_harmless_is_left_alone() -> None:
    harmless = "variant.eval()\nre.compile('x')\ntorch.load(p, weights_only=True)\nnp.load(p)\nplatform.system()"
    assert list(found(harmless)) == []


# Files of the package that a page holds, each allowed by its hash.
OWN = [f"{{{{ {name} | safe }}}}" for name in ("style", "script", "film", "live")]


def test_templates_mark_nothing_safe_but_their_own_style_and_script() -> None:
    templates = sorted((ROOT / "ganbench/reporters/templates").glob("*.html"))
    assert len(templates) >= 3
    for path in templates:
        text = path.read_text()
        assert "autoescape" not in text and "Markup" not in text
        for filtered in re.findall(r"\{[{%][^}]*\|\s*(\w+)[^}]*[}%]\}", text):
            assert filtered in ("safe", "tojson", "length", "replace", "lower")
        assert set(re.findall(r"\{\{[^}]*\|\s*safe[^}]*\}\}", text)) <= set(OWN)
        # Whatever comes from data stands in elements and quoted attributes, or as JSON that holds no markup.
        for script in re.findall(r"<script[^>]*>.*", text):
            assert script in (
                *(f"<script>{source}</script>" for source in OWN),
                '<script type="application/json" id="trials">{{ trials | tojson }}</script>',
            )
        assert not re.search(r"=\{\{", text), "an attribute without quotes"
