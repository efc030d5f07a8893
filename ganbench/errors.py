"""Errors that are the request's, not a trial's: the command line prints their one line and exits 2."""

from __future__ import annotations


class UsageError(ValueError):
    """What was asked for cannot be done. The message says what, why, and what to do instead."""
