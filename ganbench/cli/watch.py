"""``ganbench watch``: a page that shows a sweep while it trains."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from ganbench.cli.options import Folder
from ganbench.utils.console import say
from ganbench.utils.errors import EXIT_COMPLETED, UsageError

PORT = 8765


@contextlib.contextmanager
def live_page(results: Path, storage: Path | None) -> Iterator[None]:
    """A block beside which ``ganbench watch`` serves its results; on a terminal until Ctrl-C once the block has ended.

    It is a process of its own: a sweep that is killed leaves it, and one that goes on is shown there again.
    """
    words = [sys.executable, "-m", "ganbench", "watch", str(results), "--port", "0"]
    words += [] if storage is None else ["--storage", str(storage)]
    # In a session of its own, so that Ctrl-C first ends the sweep.
    server = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True)
    try:
        yield
        if sys.stderr.isatty():
            say("The live page is still there; Ctrl-C ends it.", sys.stderr)
            server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        server.terminate()
        server.wait()


@click.command("watch")
@click.argument("results", metavar="FOLDER", type=Folder())
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0: one that is free.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Interface to serve on; 0.0.0.0 is all, for everybody who reaches this machine.",
)
@click.option(
    "--storage", type=click.Path(file_okay=False, path_type=Path), help="Where running trials write, as in run."
)
def command(results: Path, port: int, host: str, storage: Path | None) -> None:
    """Show a results folder in the browser while a sweep trains into it.

    The page has the leaderboard as it fills, curves and newest samples of all running trials, failures as they happen,
    and how long it will take. It reads the folder alone: start it before, during or after the sweep, on this machine
    or on another that sees the folder. Ctrl-C ends it.

    \b
    Examples:
      ganbench watch ganbench-results
      ganbench watch ganbench-results --port 0
    """
    sys.exit(watch(results, port, host, storage))


def watch(results: Path, port: int, host: str, storage: Path | None) -> int:
    """Serve the live page until Ctrl-C; return the exit code.

    Raises:
        UsageError: the interface or the port cannot be had.
    """
    from ganbench.reporters.live_server import LiveServer

    if not host:
        raise UsageError("--host is empty: 127.0.0.1 is this machine alone, 0.0.0.0 all of its interfaces")
    try:
        server = LiveServer(results, host, port, storage)
    except OSError as reason:
        raise UsageError(f"{host}:{port}: {reason.strerror or reason}; --port 0 takes one that is free") from None
    note = "" if results.is_dir() else " (there is no such folder yet)"
    reach = f", on other machines http://{socket.gethostname()}:{server.server_port}/" if host == "0.0.0.0" else ""
    say(f"{results}{note}: {server.url}{reach}  Ctrl-C ends it")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return EXIT_COMPLETED
