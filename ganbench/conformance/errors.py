"""The outcomes of a check: it failed, it does not apply, or it passed with a remark."""

from __future__ import annotations


class CheckFailed(AssertionError):
    """A plugin does not conform. The message says what was seen and what to do about it."""


class NotChecked(Exception):
    """The check has no meaning for this plugin; the message says why. It is no failure."""


class Passed(str):
    """A remark of a check that passed: shapes that were tried, a time that was measured."""
