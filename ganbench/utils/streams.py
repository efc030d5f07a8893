"""Standard output and standard error that may go away: a closed pipe, a full disk, a stream that was never open.

They only carry messages, and results are in files, so a closed terminal does not end a sweep: from then on output is
dropped, and the command line says at its end what could not be written.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

EXIT_PIPE = 141  # what a shell says of a program that SIGPIPE ended


class Screen(io.RawIOBase):
    """A file descriptor that takes everything, and keeps the first error that writing to it gave.

    Attributes:
        failure: that error, or None; after it nothing is written any more.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.failure: OSError | None = None

    def fileno(self) -> int:
        return self.descriptor

    def isatty(self) -> bool:
        return os.isatty(self.descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.failure is None:
            try:
                return os.write(self.descriptor, data)
            except OSError as reason:
                self.failure = reason
        return len(data)


def guard() -> tuple[Screen, Screen] | None:
    """Replace ``sys.stdout`` and ``sys.stderr`` by screens that cannot fail; None on Windows, and where they
    are a test's or a notebook's own.

    A character that the locale lacks is written as a question mark: it must not cost a finished sweep its table.
    """
    for descriptor in range(3):  # the next file that is opened would get the number, and all output
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    streams = (sys.stdout, sys.stderr)
    if os.name == "nt" or streams != (sys.__stdout__, sys.__stderr__):
        for stream in streams:
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        return None
    screens = Screen(1), Screen(2)
    sys.stdout, sys.stderr = (_text(screen, old) for screen, old in zip(screens, streams, strict=True))
    return screens


def _text(screen: Screen, old: Any) -> io.TextIOWrapper:
    """A text stream as Python makes it, in the encoding of the one that it replaces."""
    encoding = "utf-8" if old is None else old.encoding
    at_once = old is not None and (old.line_buffering or old.write_through)
    return io.TextIOWrapper(io.BufferedWriter(screen), encoding, "replace", line_buffering=at_once)


def exit_code(screens: tuple[Screen, Screen] | None, code: int, damaged: int) -> int:
    """What a command ends with: ``code``, or, where that is 0 and its output was lost, what says so.

    A closed pipe is its reader's choice, and nothing is said; a disk that is full is said in one line.
    """
    if screens is None:
        return code
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    failure = screens[0].failure
    if failure is None:
        return code
    if failure.errno == errno.EPIPE:
        return code or EXIT_PIPE
    sys.stderr.write(f"ganbench: standard output cannot be written: {failure.strerror}\n")
    return code or damaged
