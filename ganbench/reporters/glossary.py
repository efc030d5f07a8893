"""The words that pages explain below their tables, and docs/glossary.md lists: ``templates/glossary.toml``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import files

import msgspec

TABLE, TRAINING, COMPARED = "The table", "How did the training go?", "Two leaderboards, several datasets"


class Word(msgspec.Struct, frozen=True):
    """A word, a sentence or two on what it means, and the page of the documentation that has more."""

    word: str
    means: str
    see: str = ""


@cache
def glossary() -> dict[str, dict[str, Word]]:
    """All words, by part and key; the key of a metric is its name."""
    text = (files("ganbench.reporters") / "templates" / "glossary.toml").read_text(encoding="utf-8")
    return msgspec.toml.decode(text, type=dict[str, dict[str, Word]])


def explained(parts: Iterable[str], metrics: Iterable[str]) -> dict[str, Word]:
    """The words of whole parts and those of metrics, by key, in the glossary's order; a stranger's metric has none."""
    parts, metrics = set(parts), set(metrics)
    return {
        key: word
        for part, words in glossary().items()
        for key, word in words.items()
        if part in parts or key in metrics
    }


def word_of(metric: str) -> str:
    """What tables call a metric: ``FID`` for ``fid``; a metric that is not in the glossary keeps its name."""
    return next((words[metric].word for words in glossary().values() if metric in words), metric)
