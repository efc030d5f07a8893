"""Rules for names that serve as folders on every system, as arguments, and as cells and columns of tables."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from functools import lru_cache

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
# Windows keeps these for devices, with any suffix behind them.
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
# What readers of CSV take for a number, a truth value or a missing cell.
_VALUE = re.compile(r"[0-9][0-9_]*(\.[0-9_]*)?(e-?[0-9]+)?|nan|inf|infinity|na|null|none|true|false")
# Columns that tables have beside the metrics: of trials, of variants, and of the stability verdict.
_OWN = """
against_control coverage_drop d_auc_gap d_auc_late d_dominance d_saturation dataset dataset_hash direction
distance_end distance_rise environment environment_fields evidence extractor failed failure_score given grad_spikes
gradient_growth hyperparameters kl_end kl_late kl_rise kl_trend late_gain mode_drop modes_end note notes oscillation
oscillation_share p_control parameter_growth preset primary protocol rank reason role sampling_sd seed seed_sd seeds
source status tier trend trial true_family u_best u_end u_rise variant verdict verdict_images verdict_step
"""
COLUMNS = frozenset(_OWN.split())
# Of columns beside a metric's own, and of those of a protocol.
_ENDINGS = ("_low", "_high", "_floor", "_floor_sd")
_PREFIX = "protocol_"
MOST_COLUMN = 200


def check_name(name: str) -> str:
    """Return ``name`` if folders, tables and commands can have it; raise ValueError if not."""
    shown = repr(name)[:80]
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(
            f"{shown} is not a valid name: lower-case letters, digits, '.', '_' and '-', "
            "at most 64 of them, the first a letter or a digit"
        )
    if _DEVICE.fullmatch(name) or name.endswith("."):
        raise ValueError(f"{shown} is not a valid name: Windows has no folder of that name")
    if _VALUE.fullmatch(name):
        raise ValueError(f"{shown} is not a valid name: a reader of tables would take it for a value")
    return name


@lru_cache(maxsize=4096)
def check_column(name: str) -> str:
    """Return the name of a metric's column, ``prd`` or ``prd.f8``, if tables can have it; raise ValueError if not."""
    base, _, key = name.partition(".")
    if not (key and NAME.fullmatch(base)):
        check_name(name)
    elif not name.isprintable() or len(name) > MOST_COLUMN:
        raise ValueError(f"{name[:80]!r} is not a valid column: at most {MOST_COLUMN} printable characters")
    if name in COLUMNS or name.endswith(_ENDINGS) or name.startswith(_PREFIX):
        raise ValueError(f"{name!r} is not a valid column: the tables have one of that name beside the metrics")
    return name


def check_metric(name: str) -> str:
    """Return the name of a metric if it can have a column, and columns of its own below it; raise ValueError if not."""
    if "." in check_column(name):
        raise ValueError(
            f"{name!r} is not a valid name of a metric: a dot separates a column such as prd.f8 from its own"
        )
    return name


def is_path(text: str) -> bool:
    """Whether a text can only be a path: it begins with ``~``, has a separator, or is ``.`` or ``..``.

    What stands behind a colon does not count: ``folder:a/b`` is the name of a dataset.
    """
    head = text.partition(":")[0]
    return head.startswith("~") or head in (".", "..") or any(mark in head for mark in (os.sep, os.altsep) if mark)


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The known names that somebody may have meant: those that differ in case and punctuation alone, else similar ones.

    ``FashionMNIST`` and ``fashion_mnist`` are ``fashion-mnist``.
    """
    known = list(known)
    same = [one for one in known if _letters(one) == _letters(name)]
    return same or difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)


def hint(name: str, known: Iterable[str], otherwise: str = "", most: int = 3) -> str:
    """What to say of an unknown name: ``did you mean dcgan or cgan?``, or ``there are dcgan, vae`` if none is like it.

    Args:
        otherwise: what to say instead of listing all that are known.
        most: how many are named that somebody may have meant.
    """
    known = list(known)
    if near := nearest(name, known)[:most]:
        return f"did you mean {' or '.join(near)}?"
    return otherwise or f"there are {', '.join(known) or 'none'}"


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))
