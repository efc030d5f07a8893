"""Compare a variant's samples, or a dataset's content, with those in a freshly started Python process."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from multiprocessing import current_process
from multiprocessing.reduction import ForkingPickler

import torch
from torch import Tensor

from ganbench.conformance.errors import CheckFailed
from ganbench.discovery.loader import discover
from ganbench.utils.seeding import generator, pin

SECONDS = 120.0
KEY = 32  # bytes of a process's key


def same_elsewhere(sent: bytes, samples: Tensor) -> bool:
    """Whether a pickled variant draws the same samples in a fresh interpreter, on the CPU.

    Raises CheckFailed where it does not come to life there.
    """
    # Tensors are handed over as multiprocessing does it: to a process that has the key of this one.
    answer = _run("variant", bytes(current_process().authkey) + sent, len(samples))
    found = torch.frombuffer(bytearray(answer), dtype=torch.float32).reshape(samples.shape)
    return bool(torch.equal(found.nan_to_num(7), samples.cpu().nan_to_num(7)))


def hash_elsewhere(name: str) -> str:
    """The content hash of an installed dataset in a fresh interpreter; raises CheckFailed where it cannot be loaded."""
    return _run("dataset", name.encode(), 0).decode()


def _run(kind: str, sent: bytes, n: int) -> bytes:
    path = os.pathsep.join(sys.path)  # what can be imported here can be imported there
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "ganbench.conformance.fresh_process", kind, str(n)]
    try:
        done = subprocess.run(command, input=sent, capture_output=True, env=environment, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise CheckFailed(f"a fresh process did not answer within {SECONDS:g} s") from None
    answer = done.stdout.rpartition(b"\nganbench:")[2] if b"\nganbench:" in done.stdout else b""
    if done.returncode or not answer:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise CheckFailed(f"a fresh process cannot load it: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return base64.b64decode(answer)


def main(kind: str, n: int) -> bytes:
    """The fresh process: read what was sent, find the plugins that it needs, and answer."""
    sent = sys.stdin.buffer.read()
    if kind == "dataset":
        from ganbench.harness.real_data import content_hash, load_split

        dataset = discover([("dataset", sent.decode())]).get("dataset", sent.decode()).thing
        return content_hash({split: load_split(dataset, split) for split in ("train", "test")}).encode()
    pin(torch.get_num_threads())
    discover([])  # so that modules of --plugin-path are there
    current_process().authkey = sent[:KEY]
    variant = ForkingPickler.loads(sent[KEY:]).cpu().eval()
    with torch.no_grad():
        found: Tensor = variant.sample(n, generator(3))
    return found.float().contiguous().numpy().tobytes()


if __name__ == "__main__":
    answer = main(sys.argv[1], int(sys.argv[2]))
    sys.stdout.buffer.write(b"\nganbench:" + base64.b64encode(answer))
