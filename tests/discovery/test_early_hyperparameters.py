"""Hyperparameters that are read in the text of modules are those of the signatures."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points

import pytest

from ganbench.discovery import early_hyperparameters as early
from ganbench.plugin.hyperparameters import hyperparameters
from ganbench.utils.errors import UsageError

MODULES = sorted({point.value for point in entry_points(group="ganbench") if "ganbench_plugins." in point.value})


@pytest.mark.parametrize("module", MODULES)
def test_the_text_says_what_the_signature_says(module: str) -> None:
    classes = {early._name(cls): cls for cls in early._classes(module).values()}
    for variant in import_module(module).ganbench_variants():
        declared, signature = early._declared(module, classes[variant.name]), hyperparameters(variant)
        assert declared is not None and set(declared) == set(signature)
        types = {name: one.type for name, one in declared.items()}
        assert {name for name, known in types.items() if known not in (None, signature[name].type)} == set()
        assert types["lr"] is float if "lr" in types else True


def test_what_is_wrong_is_refused_in_the_words_of_the_slow_way_and_without_torch() -> None:
    code = """
import sys
from ganbench.discovery.early_hyperparameters import check_settings
from ganbench.utils.errors import UsageError
for settings in ({"beta": "1"}, {"lr": "abc"}, {"width": "1.5"}):
    try:
        check_settings("ganbench_plugins.r1", "r1", settings)
    except UsageError as reason:
        print(reason)
check_settings("ganbench_plugins.r1", "r1", {"gamma": "2", "width": "8"})
print("torch" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert told[0] == "--set r1: r1 has no hyperparameter 'beta'; did you mean beta1?"
    assert told[1] == "--set r1: lr=abc: expected a finite number"
    assert told[2].startswith("--set r1: width=1.5: expected a whole number") and told[3] == "False"


def test_a_class_whose_base_no_text_defines_is_left_to_those_who_import_it(tmp_path, monkeypatch) -> None:
    (tmp_path / "odd_base.py").write_text("import x\nclass Odd(x.Base):\n    name = 'odd'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    early.check_settings("odd_base", "odd", {"anything": "1"})
    (tmp_path / "closed.py").write_text(
        "class Closed:\n    name = 'closed'\n    def __init__(self, shape, lr: float = 1.0): ...\n"
    )
    with pytest.raises(UsageError, match="closed has no hyperparameter 'rl'; did you mean lr"):
        early.check_settings("closed", "closed", {"rl": "1"})
