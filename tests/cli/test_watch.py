"""``ganbench watch`` and ``run --live``: a real sweep in a real Chromium, killed and gone on with."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from ganbench.reporters.live_server import LiveServer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SWEEP = ("run", "-p", "vanilla,noise", "-d", "digits,ring8", "--seeds", "1", "--samples", "200", "--images", "64000")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    (tmp_path / "results").mkdir()
    found = LiveServer(tmp_path / "results", "127.0.0.1", 0)
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.shutdown()
    found.server_close()
    thread.join()


def ask(server: LiveServer, path: str, host: str | None = None, method: str = "GET") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.putrequest(method, path, skip_host=host is not None)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    told = answer.status, answer.headers.get("Content-Type", ""), answer.read().decode()
    connection.close()
    return told


def test_nothing_but_the_page_its_state_and_reports_is_served(server: LiveServer, tmp_path: Path) -> None:
    (tmp_path / "secret.html").write_text("secret")
    results = tmp_path / "results"
    (results / "leaderboard.html").write_text("<p>tables")
    (results / "trials").mkdir()
    (results / "trials" / "0a1b2c3d.html").symlink_to(tmp_path / "secret.html")
    (results / "trials" / "1a1b2c3d.html").write_text("<p>a trial")
    assert ask(server, "/")[:2] == (200, "text/html; charset=utf-8")
    assert ask(server, "/state.json")[:2] == (200, "application/json")
    assert (
        ask(server, "/leaderboard.html")[2] == "<p>tables" and ask(server, "/trials/1a1b2c3d.html")[2] == "<p>a trial"
    )
    for path in (
        "/secret.html",
        "/../secret.html",
        "/trials/0a1b2c3d.html",
        "/trials/../../secret.html",
        "//etc/passwd",
    ):
        assert ask(server, path)[0] == 404, path
    assert ask(server, "/", method="POST")[0] == 501


def test_a_page_of_a_stranger_cannot_ask_under_its_own_name(server: LiveServer) -> None:
    for host in ("evil.example", "evil.example:80", "localhost.evil.example", ""):
        assert ask(server, "/state.json", host)[0] == 403, host
    for host in ("localhost", f"127.0.0.1:{server.server_address[1]}", "[::1]:80"):
        assert ask(server, "/state.json", host)[0] == 200, host


def test_a_port_that_is_taken_is_said(server: LiveServer, ganbench) -> None:
    port = str(server.server_address[1])
    ended = ganbench("watch", "results", "--port", port)
    assert ended.returncode == 2 and f"127.0.0.1:{port}: " in ended.stderr and "--port 0" in ended.stderr


@pytest.mark.parametrize(
    ("host", "told"), [("", "--host is empty: 127.0.0.1"), ("192.0.2.1", "192.0.2.1:0: "), ("no such", "no such:0: ")]
)
def test_an_interface_that_is_not_here_is_said(host: str, told: str, ganbench) -> None:
    ended = ganbench("watch", "results", "--host", host, "--port", "0")
    assert ended.returncode == 2 and told in ended.stderr and "Traceback" not in ended.stderr


def start(folder: Path, *words: str, output: int | IO[bytes] = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "ganbench", *words],
        cwd=folder,
        stdout=output,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium")
def test_a_sweep_is_seen_while_it_runs_is_killed_and_goes_on(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    expect = playwright.expect
    with open(tmp_path / "said", "wb") as said:
        watch = start(tmp_path, "watch", "results", "--port", "0", output=said)
    sweep = None
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"http://127\.0\.0\.1:\d+/", (tmp_path / "said").read_text())):
            assert time.monotonic() < deadline and watch.poll() is None
            time.sleep(0.05)
        url = found[0]
        with playwright.sync_playwright() as engine:
            browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page, complaints = browser.new_page(), []
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto(url)
            told = page.get_by_role("status")
            expect(told).to_have_text("0 trials finished, 0 running.", timeout=20_000)
            sweep = start(tmp_path, *SWEEP, "--results", "results", "--jobs", "1")
            expect(page.locator("#running figure img, #running figure svg").first).to_be_visible(timeout=120_000)
            expect(page.locator("#curves .line").first).to_be_visible(timeout=60_000)
            expect(told).to_contain_text("of 4 trials finished")
            os.killpg(sweep.pid, signal.SIGKILL)
            sweep.wait()
            sweep = start(tmp_path, *SWEEP, "--results", "results")
            expect(page.locator("#tables table").first).to_be_visible(timeout=120_000)
            expect(told).to_have_text("4 trials finished, 0 running.", timeout=240_000)
            assert sweep.wait(60) == 0
            expect(page.locator("#tables tbody th", has_text="vanilla")).to_have_count(2, timeout=60_000)
            expect(page.locator("#tables h3")).to_have_text(["digits", "ring8"])
            assert complaints == []
            browser.close()
        assert not (tmp_path / "results" / ".plan.json").exists()
        # Nobody looks: under 1 % of a core.
        before, seconds = cpu_seconds(watch.pid), 4
        time.sleep(seconds)
        assert cpu_seconds(watch.pid) - before < 0.01 * seconds + 0.01
        watch.send_signal(signal.SIGINT)
        assert watch.wait(20) == 0
    finally:
        for process in (watch, sweep):
            if process is not None and process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def test_a_live_page_ends_with_its_sweep_where_nobody_can_press_a_key(tmp_path: Path, ganbench) -> None:
    ended = ganbench("run", "-p", "noise", "-d", "ring8", "--seeds", "1", "--images", "640", "--live", "--jobs", "1")
    assert ended.returncode == 0
    url = re.search(r"http://127\.0\.0\.1:(\d+)/", ended.stderr)
    assert url, ended.stderr
    with pytest.raises(OSError):
        http.client.HTTPConnection("127.0.0.1", int(url[1]), timeout=5).request("GET", "/")
