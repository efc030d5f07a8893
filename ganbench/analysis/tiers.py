"""Tests every pair of variants of a table, and shows by letters which pairs cannot be told apart.

Numbered tiers cannot show this: a may be indistinguishable from b, and b from c, while a beats c. With letters, a has
the letter a, c the letter b, and b has both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ganbench.analysis.statistics import ALPHA, MINIMUM_SEEDS, Floats, holm, permutation_pairs, sample_of, welch_pairs

UNTESTED = "?"
TIED = 0.2  # share of tied values from which samples are tested by permutation
MOST_PERMUTED = 100  # values of a pair; of more, Welch is near enough, and splits would fill the memory


class Separation(NamedTuple):
    """The results of all pairwise tests between k variants, given in rank order.

    Attributes:
        p: ``(k, k)`` symmetric, Holm-adjusted; NaN where no test is made (the diagonal, too few seeds).
        letters: k strings; two variants share a letter exactly if they cannot be told apart; ``?`` untested.
        tests: size of the family that Holm corrects for.
    """

    p: Floats
    letters: list[str]
    tests: int


def letters(separated: ArrayLike) -> list[str]:
    """Compact letter display: k strings such that i and j share a letter exactly if ``separated[i, j]`` is false.

    ``separated`` is ``(k, k)``, symmetric, in rank order; letters follow that order: a to z, A to Z, then
    a1, b1, ... The display is that of Piepho, "An Algorithm for a Letter-Based Representation of
    All-Pairwise Comparisons", Journal of Computational and Graphical Statistics 13 (2004). His
    insert-and-absorb lists every maximal group, of which there can be exponentially many; this is a
    greedy cover of the pairs by such groups (Gramm et al., "Algorithms for Compact Letter Displays:
    Comparison and Evaluation", Computational Statistics & Data Analysis 52, 2007), which is the same
    where groups are runs of neighbours and leaves out redundant ones where they are not.
    """
    matrix = np.asarray(separated, dtype=bool)
    k = len(matrix)
    matrix = matrix.reshape(k, k)
    # Sets of variants are the bits of one integer.
    packed = np.packbits(~matrix & ~np.eye(k, dtype=bool), axis=1, bitorder="little")
    alike = [int.from_bytes(row.tobytes(), "little") for row in packed]
    covered = [0] * k
    groups: list[list[int]] = []
    for i in range(k):
        later = alike[i] >> i << i
        if not alike[i]:
            groups.append([i])
        while missing := later & ~covered[i]:
            group, candidates = [i], later
            following = missing & -missing
            while following:
                group.append(following.bit_length() - 1)
                candidates &= alike[group[-1]]
                following = candidates & -candidates
            bits = sum(1 << j for j in group)
            for j in group:
                covered[j] |= bits
            groups.append(sorted(group))
    display = [""] * k
    for number, group in enumerate(sorted(groups)):
        letter = _letter(number)
        for i in group:
            display[i] += letter
    return display


def _letter(index: int) -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return alphabet[index % 52] + (str(index // 52) if index >= 52 else "")


def p_values(samples: Sequence[Floats], first: NDArray[Any], second: NDArray[Any]) -> Floats:
    """Unadjusted p-values of the pairs ``(samples[first[i]], samples[second[i]])``.

    Welch's test, and the permutation test of the same difference where at least a fifth of the two samples' values are
    ties (of 100 values at most). Those are failures, which share one score, or counts: samples of two values or few,
    whose t follows no t distribution, and whose variance may be 0 by chance, which Welch takes for certainty. The
    choice looks at both samples together, which permutations leave as they are, so that it does not bend the
    permutation test. Its p-value is at least ``2 / binomial(n + m, n)``, and so is that of a constant sample.
    """
    sizes = np.array([len(sample) for sample in samples])
    constant = np.array([sample.min() == sample.max() for sample in samples])
    raw = welch_pairs(samples, first, second)
    least = 2 / special.comb(sizes[first] + sizes[second], sizes[first])
    found = np.where(constant[first] | constant[second], np.fmax(raw, least), raw)
    few = sizes[first] + sizes[second] <= MOST_PERMUTED
    tied = few & (tied_shares(samples, first, second) >= TIED)
    if tied.any():
        found[tied] = permutation_pairs(samples, first[tied], second[tied])
    return found


def tied_shares(samples: Sequence[Floats], first: NDArray[Any], second: NDArray[Any]) -> Floats:
    """Of each pair the share of its values that occur more than once among both samples."""
    sizes = np.array([len(sample) for sample in samples], dtype=float)
    _, code, counts = np.unique(np.concatenate(samples), return_inverse=True, return_counts=True)
    repeated = np.split(counts[code] > 1, np.cumsum(sizes).astype(int)[:-1])
    # Values that occur once among all samples are in no tie: most pairs have no others.
    some = np.array([each.any() for each in repeated], dtype=bool)
    alone = np.array([_ties(samples[i]) if some[i] else 0 for i in range(len(samples))], dtype=float)
    ties = alone[first] + alone[second]
    for k in np.flatnonzero(some[first] & some[second]):
        ties[k] = _ties(np.concatenate([samples[first[k]], samples[second[k]]]))
    return np.asarray(ties / (sizes[first] + sizes[second]))


def _ties(values: Floats) -> int:
    _, counts = np.unique(values, return_counts=True)
    return int(counts[counts > 1].sum())


def separate(samples: Sequence[ArrayLike], alpha: float = ALPHA) -> Separation:
    """All pairs of ``samples`` (k of them, in rank order, on the scale they are tested on): test, Holm, letters.

    Samples of fewer than five values are in no pair and get ``?``.
    """
    known = [sample_of(sample) for sample in samples]
    enough = np.array([i for i, sample in enumerate(known) if len(sample) >= MINIMUM_SEEDS], dtype=int)
    p = np.full((len(known), len(known)), np.nan)
    left, right = np.triu_indices(len(enough), 1)
    first, second = enough[left], enough[right]
    if len(first):
        p[first, second] = p[second, first] = holm(p_values(known, first, second))
    display = [UNTESTED] * len(known)
    for i, shown in zip(enough, letters(p[np.ix_(enough, enough)] <= alpha), strict=True):
        display[i] = shown
    return Separation(p, display, len(first))
