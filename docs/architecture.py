"""Draw docs/assets/architecture.svg: the packages of ganbench, and which imports which.

    python docs/architecture.py

The arrows are read from the import statements. One that follows from others is left out: cli imports almost everything.
"""

from __future__ import annotations

import ast
import sys
from html import escape
from pathlib import Path

import networkx

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ganbench"
PICTURE = Path(__file__).parent / "assets" / "architecture.svg"
WIDTH, BOX, HEIGHT, FLOOR, MARGIN = 1160, 124, 34, 84, 20  # in pixels


def imports() -> networkx.DiGraph:
    """The packages, with an arrow from each one to every other that a file of it imports."""
    packages = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
    graph = networkx.DiGraph()
    graph.add_nodes_from(packages)
    for package in packages:
        for path in sorted((PACKAGE / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ganbench."):
                    there = str(node.module).split(".")[1]
                    if there in packages and there != package:
                        graph.add_edge(package, there)
    return graph


def draw(graph: networkx.DiGraph) -> str:
    """The picture as SVG: what imports nothing stands at the bottom, every package above all that it imports."""
    arrows = networkx.transitive_reduction(graph)
    floors = list(networkx.topological_generations(graph.reverse()))
    height = FLOOR * len(floors) + 2 * MARGIN - (FLOOR - HEIGHT)
    places: dict[str, tuple[float, int]] = {}
    for level, floor in reversed(list(enumerate(floors))):

        def below_its_importers(name: str) -> tuple[float, str]:
            above = [places[other][0] for other in arrows.predecessors(name)]
            return (sum(above) / len(above) if above else WIDTH, name)

        for i, name in enumerate(sorted(floor, key=below_its_importers)):
            places[name] = ((i + 0.5) * WIDTH / len(floor), height - MARGIN - HEIGHT - FLOOR * level)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="15">',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#7a869a"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for here, there in sorted(arrows.edges):
        (x1, y1), (x2, y2) = places[here], places[there]
        y1 += HEIGHT
        middle = (y1 + y2) / 2
        lines.append(
            f'<path d="M{x1:.0f} {y1}C{x1:.0f} {middle:.0f} {x2:.0f} {middle:.0f} {x2:.0f} {y2 - 2}" fill="none" '
            'stroke="#7a869a" stroke-width="1.4" marker-end="url(#head)"/>'
        )
    for name, (x, y) in sorted(places.items()):
        lines.append(
            f'<rect x="{x - BOX / 2:.0f}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="6" fill="#eef2fb" '
            f'stroke="#3f51b5"/><text x="{x:.0f}" y="{y + 22}" text-anchor="middle">{escape(name)}</text>'
        )
    return "\n".join([*lines, "</svg>"]) + "\n"


if __name__ == "__main__":
    graph = imports()
    PICTURE.write_text(draw(graph))
    sys.stdout.write(
        f"{len(graph)} packages, {graph.number_of_edges()} arrows between them, "
        f"{networkx.dag_longest_path_length(graph) + 1} floors: {PICTURE.relative_to(ROOT)}\n"
    )
