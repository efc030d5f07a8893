"""Hyperparameters of ganbench's own variants, read in the text of their modules: importing them would import torch.

It is for finding a misspelt one at once. Where the text says less than the signature would, nothing is refused here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from ganbench.discovery.imports import find_module
from ganbench.plugin.hyperparameters import RESERVED, Hyperparameter, refuse_unknown
from ganbench.utils.errors import UsageError

_TYPES: dict[str, type] = {"float": float, "int": int, "bool": bool, "str": str}


def check_settings(module: str, variant: str, settings: Mapping[str, str]) -> None:
    """Raise UsageError for a name that the variant in that module does not have, or a text that is no value of it."""
    cls = next((node for node in _classes(module).values() if _name(node) == variant), None)
    known = None if cls is None else _declared(module, cls)
    if known is None:
        return
    try:
        refuse_unknown(variant, settings, known)
        for name, text in settings.items():
            if known[name].type is not None:
                known[name].parse(text)
    except ValueError as reason:
        raise UsageError(f"--set {variant}: {reason}") from None


def _declared(module: str, cls: ast.ClassDef) -> dict[str, Hyperparameter] | None:
    """The hyperparameters of a class, its bases' first; None where a base cannot be found in any text."""
    init = next((node for node in cls.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"), None)
    own = {} if init is None else dict(_keywords(init, module))
    if init is not None and init.args.kwarg is None:
        return own
    found: dict[str, Hyperparameter] = {}
    for base in cls.bases:
        if not isinstance(base, ast.Name):
            return None
        if base.id == "Variant":
            continue
        place = _defined(module, base.id)
        above = None if place is None else _declared(place, _classes(place)[base.id])
        if above is None:
            return None
        found = {**above, **found}
    return {**found, **own}


def _keywords(init: ast.FunctionDef, module: str) -> Iterator[tuple[str, Hyperparameter]]:
    arguments = [*init.args.posonlyargs, *init.args.args]
    with_default = [*arguments[len(arguments) - len(init.args.defaults) :]] if init.args.defaults else []
    with_default += [
        a for a, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True) if default is not None
    ]
    for argument in with_default:
        if argument.arg not in RESERVED:
            yield argument.arg, Hyperparameter(argument.arg, _type(argument.annotation, module), None)


def _type(annotation: ast.expr | None, module: str) -> Any:
    """The type in ``Annotated[float, ...]``, ``float`` or ``int | None``, also where a name stands for it; or None."""
    name = getattr(annotation, "id", "")
    if name not in _TYPES and (place := _defined(module, name)) and name in _assigned(place):
        return _type(_assigned(place)[name], place)
    if isinstance(annotation, ast.Subscript) and getattr(annotation.value, "id", "") == "Annotated":
        inner = annotation.slice
        annotation = inner.elts[0] if isinstance(inner, ast.Tuple) else inner
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.right, ast.Constant) and not annotation.right.value:
        inner = _type(annotation.left, module)
        return None if inner is None else inner | None
    return _TYPES.get(getattr(annotation, "id", ""))


def _name(cls: ast.ClassDef) -> str | None:
    for node in cls.body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["name"]:
            return node.value.value if isinstance(node.value, ast.Constant) else None  # type: ignore[return-value]
    return None


def _defined(module: str, name: str) -> str | None:
    """The module whose text defines what ``name`` means in a module, packages followed; or None."""
    for _ in range(5):
        if name in _classes(module) or name in _assigned(module):
            return module
        froms = [node for node in ast.walk(_tree(module)) if isinstance(node, ast.ImportFrom) and not node.level]
        sources = [(n.module, a.name) for n in froms for a in n.names if (a.asname or a.name) == name and n.module]
        if not sources:
            return None
        module, name = sources[0]
    return None


def _classes(module: str) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in _tree(module).body if isinstance(node, ast.ClassDef)}


def _assigned(module: str) -> dict[str, ast.expr]:
    """What names of a module are assigned, such as ``StepSize = Annotated[float, ...]``."""
    assigned = [node for node in _tree(module).body if isinstance(node, ast.Assign)]
    return {target.id: node.value for node in assigned for target in node.targets if isinstance(target, ast.Name)}


@cache
def _tree(module: str) -> ast.Module:
    found = find_module(module)
    return ast.parse(b"" if found is None or not found.is_source else found.content)
