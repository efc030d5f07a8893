"""Checks of what scores are given, before any arithmetic: one NaN can make a decomposition run for minutes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ganbench.plugin.interfaces import MetricError

LARGEST = 1e40
"""Largest magnitude of a feature: the kernel distance sums sixth powers, which must stay below 1.8e308."""


def as_array(values: Any, name: str) -> np.ndarray:
    """``values`` as an array of whatever shape and type; MetricError for rows of different lengths."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise MetricError(f"{name} must be an array: {error}") from error


def numbers(values: Any, name: str, ndim: int, dtype: type[np.floating[Any]] = np.float64) -> np.ndarray:
    """``values`` as a finite, contiguous array of ``dtype`` with ``ndim`` dimensions.

    Raises:
        MetricError: it is not numeric, not of that shape, empty, or holds a value that is not finite.
    """
    try:
        array = np.ascontiguousarray(values, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise MetricError(f"{name} must be an array of real numbers: {error}") from error
    if np.ndim(values) != ndim or array.size == 0:
        wanted = "(n,)" if ndim == 1 else "(n, d)"
        raise MetricError(f"{name} must have the shape {wanted} and not be empty, not {np.shape(values)}")
    if not (np.isfinite(array.max()) and np.isfinite(array.min())):
        finite = np.isfinite(array)
        place = np.unravel_index(int(np.argmin(finite)), array.shape)
        bad = array.size - np.count_nonzero(finite)
        raise MetricError(
            f"{name} holds {bad} of {array.size} values that are not finite, the first {array[place]} in row {place[0]}"
        )
    return array


def features(values: Any, name: str, rows: int) -> np.ndarray:
    """``values`` as an array ``(n, d)`` of features with at least ``rows`` rows: float32 if it is that, else float64.

    Raises:
        MetricError: as in ``numbers``, or too few rows, or a magnitude above ``LARGEST``.
    """
    single = getattr(values, "dtype", None) == np.float32
    array = numbers(values, name, ndim=2, dtype=np.float32 if single else np.float64)
    if len(array) < rows:
        raise MetricError(f"{name} needs at least {rows} rows, not {len(array)}")
    largest = float(max(array.max(), -array.min()))
    if largest > LARGEST:
        raise MetricError(f"{name} holds a value of magnitude {largest:.3g}; above {LARGEST:g} its powers overflow")
    return array


def feature_pair(
    first: Any, second: Any, rows: tuple[int, int], names: tuple[str, str] = ("real", "fake")
) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of features of one width, in float64, each with at least its number of rows.

    Raises:
        MetricError: as in ``features``, or the widths differ.
    """
    one, two = (
        features(values, name, least).astype(np.float64, copy=False)
        for values, name, least in zip((first, second), names, rows, strict=True)
    )
    if one.shape[1] != two.shape[1]:
        raise MetricError(f"{names[0]} has {one.shape[1]} features a row and {names[1]} {two.shape[1]}")
    return one, two


def positive_integer(value: int, name: str, least: int = 1) -> int:
    """``value``, if it is an integer of at least ``least``; MetricError if not."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise MetricError(f"{name} must be an integer of at least {least}, not {value!r}")
    return int(value)
