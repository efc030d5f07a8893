"""Write docs/glossary.md from the words that pages of results explain: ganbench/reporters/templates/glossary.toml.

python docs/glossary.py
"""

from __future__ import annotations

from pathlib import Path

from ganbench.reporters.glossary import glossary

HEAD = """# Glossary

The words of tables and pages. A question mark in the heading of a table leads to the same sentences on its own page;
the [lesson](lesson.md) shows most of them at work.
"""


def page() -> str:
    """The whole page as Markdown."""
    lines = [HEAD]
    for part, words in glossary().items():
        lines.append(f"## {part}\n")
        for word in words.values():
            more = f" [More]({word.see})." if word.see else ""
            lines.append(f"### {word.word}\n\n{word.means}{more}\n")
    return "\n".join(lines)


if __name__ == "__main__":
    Path(__file__).with_name("glossary.md").write_text(page(), encoding="utf-8")
