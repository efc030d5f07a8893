"""Helpers for every package, which know none of them: errors, files, names, JSON, signals, memory, seeds, pixels.

Anything that knows what a trial, a metric or a record is belongs in a package above.
"""
