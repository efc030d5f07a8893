"""The words that pages explain: every metric has one, no page of the documentation is promised that is not there."""

from __future__ import annotations

import runpy
from importlib.metadata import entry_points
from pathlib import Path

from ganbench.analysis.stability import WORDS
from ganbench.reporters.glossary import TABLE, TRAINING, explained, glossary
from ganbench.reporters.leaderboard_rows import FIGURES

DOCS = Path(__file__).parents[2] / "docs"


def test_every_metric_column_and_verdict_has_a_word() -> None:
    metrics = {point.name for point in entry_points(group="ganbench") if point.value.startswith("ganbench.metrics.")}
    known = explained([], metrics)
    assert metrics - known.keys() == set()
    table, training = (glossary()[part].keys() for part in (TABLE, TRAINING))
    assert {"rank", "tier", "variant", "verdict", "seeds", "failed", *(name for name, *_ in FIGURES)} <= table
    assert set(WORDS) - {"unknown"} <= training


def test_words_are_those_of_the_parts_and_metrics_that_are_asked_for() -> None:
    assert list(explained([], ["recall", "fid", "mine"])) == ["fid", "recall"]
    assert explained([TABLE], []) == glossary()[TABLE]


def test_the_page_is_made_of_the_words() -> None:
    written = runpy.run_path(str(DOCS / "glossary.py"))["page"]()
    assert (DOCS / "glossary.md").read_text() == written, "write it again: python docs/glossary.py"


def test_every_word_is_a_heading_of_its_own() -> None:
    """So that each has an anchor: headings that differ in nothing but signs would share one."""
    words = [word for part in glossary().values() for word in part.values()]
    assert len({word.word.lower() for word in words}) == len(words)
    assert all((DOCS / word.see).is_file() for word in words if word.see)
    assert all(word.means.endswith(".") and len(word.means) < 300 for word in words)
