"""Serves the live page of a results folder over HTTP on this machine, to whoever opens it in a browser."""

from __future__ import annotations

import http.server
import ipaddress
import json
import re
import socket
from http import HTTPStatus
from pathlib import Path

from ganbench.reporters.html import page
from ganbench.reporters.live import Follower, page_file
from ganbench.reporters.sections import LEGEND
from ganbench.utils.files import read_plain

_PAGES = re.compile(r"/(leaderboard\.html|trials/[0-9a-f]{8}\.html)")
_MOST_BYTES = 1 << 26


class LiveServer(http.server.ThreadingHTTPServer):
    """The server of one results folder. It reads, and does nothing while nobody asks.

    Args:
        host: of the interface; port: 0 for one that is free.

    Raises:
        OSError: the interface or the port cannot be had.
    """

    daemon_threads = True

    def __init__(self, root: Path, host: str, port: int, work: Path | None = None) -> None:
        self.root, self.follower = root, Follower(root, work)
        self.page = page("live.html", folder=root.absolute().name, legend=LEGEND).encode()
        # A page elsewhere may lead a browser here under a name of its own; it is answered under these alone.
        self.names = {"localhost", "127.0.0.1", "[::1]", host, *([socket.gethostname()] if host == "0.0.0.0" else [])}
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://{'127.0.0.1' if host in ('0.0.0.0', '') else host!s}:{port}/"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: LiveServer
    timeout = 30
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if not self._is_ours():
            self._answer(HTTPStatus.FORBIDDEN, b"ask for it by its address\n", "text/plain")
        elif self.path == "/":
            self._answer(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")
        elif self.path == "/state.json":
            self._answer(HTTPStatus.OK, json.dumps(self.server.follower.state()).encode(), "application/json")
        elif (named := _PAGES.fullmatch(self.path)) and (path := page_file(self.server.root, named[1])):
            self._answer(HTTPStatus.OK, read_plain(path, _MOST_BYTES), "text/html; charset=utf-8")
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"there is no such page\n", "text/plain")

    def _is_ours(self) -> bool:
        """Whether the browser asked for this server by an address or a name that it is known by."""
        name = re.sub(r":\d+$", "", self.headers.get("Host", ""))
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name in self.server.names
        return True

    def _answer(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Log no requests: the page asks every two seconds."""
