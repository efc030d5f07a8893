"""``leaderboard.tex``: one table a dataset and protocol, for a paper; it needs the package booktabs."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from ganbench.plugin.interfaces import Reporter
from ganbench.plugin.report import Report
from ganbench.reporters.sections import LEGEND, cells, sections
from ganbench.utils.files import write_atomic

# What the usual fonts of LaTeX have no letter for.
_SIGNS = {"↓": r"$\downarrow$", "↑": r"$\uparrow$", "–": "--", "±": r"$\pm$", "\N{NO-BREAK SPACE}": "~"}
_CONTROLS = dict.fromkeys((*range(32), *range(127, 160), 0x2028, 0x2029), " ")


class LatexReporter(Reporter):
    name = "latex"
    suffix = ".tex"

    def write_report(self, report: Report, folder: Path) -> None:
        write_atomic(folder / "leaderboard.tex", to_latex(report).encode())


def to_latex(report: Report) -> str:
    """Tables with medians and intervals over seeds, the last row of each the floor, to be read by ``\\input``."""
    parts = ["% made by ganbench report --format latex; needs \\usepackage{booktabs}"]
    for section in sections(report):
        headings, rows = cells(section)
        table = pd.DataFrame([[escape(cell) for cell in row] for row in rows])
        table.columns = pd.Index([escape(heading) for heading in headings])
        form = "".join("l" if name in ("Tier", "Variant", "Verdict") else "r" for name in headings)
        caption = escape(f"{section.dataset}. {section.conditions} {LEGEND}")
        style = table.style.hide(axis="index")
        parts.append(style.to_latex(hrules=True, column_format=form, caption=caption, position_float="centering"))
    return "\n".join(parts)


def escape(text: str) -> str:
    """Text in which nothing is a command, a comment or the end of a cell."""
    marks = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}"}
    marks |= {mark: f"\\{mark}" for mark in "&%$#_{}"} | {">": r"\textgreater{}", "|": r"\textbar{}"} | _SIGNS
    return re.sub("|".join(map(re.escape, marks)), lambda found: marks[found[0]], text.translate(_CONTROLS))


reporter = LatexReporter()
