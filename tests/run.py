"""Install ganbench and what its tests need into an environment of their own, run them there, and give a verdict.

    python tests/run.py            a selection that meets every part of ganbench, real training included
    python tests/run.py --whole    all tests, but those marked slow
    python tests/run.py --rest     the whole without the selection

Needs nothing but Python and its pip. The environment, in ``.tests/``, holds the wheel that is built from this checkout;
the next run uses it again and installs only when something changed. The exit status is 0 if every test passed. More
arguments go to pytest: ``python tests/run.py --whole -k tune``.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SELECTION = "tests/quick.txt"
INSTALLED = ("pyproject.toml", "README.md", "ganbench", "plugins", "results/reference/trials.csv")


def digest() -> str:
    """A hash of this Python and of every file that the wheel is made from."""
    found = hashlib.sha256(sys.version.encode())
    for name in INSTALLED:
        path = ROOT / name
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() and p.suffix != ".pyc")
        for file in files:
            found.update(f"{file.relative_to(ROOT)}\n".encode() + hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()


def prepare(folder: Path) -> Path:
    """The Python of an environment in which this checkout and its tests' requirements are installed.

    Raises: CalledProcessError if venv or pip fails; both have said why.
    """
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    python, stamp, wanted = scripts / "python", folder / "installed.sha256", digest()
    if stamp.exists() and stamp.read_text() == wanted:
        print(f"Using the environment {folder}", flush=True)
        return python
    if not stamp.exists():
        print(f"Making the environment {folder}: downloads PyTorch, and holds up to 6 GB", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    print("Installing ganbench and what its tests need", flush=True)
    stamp.unlink(missing_ok=True)
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # setuptools would pack what an earlier build left there
    # Bytecode of all of PyTorch would take a minute; what the tests import is compiled then.
    subprocess.run([str(python), "-m", "pip", "install", "--no-compile", ".[test]"], cwd=ROOT, check=True)
    stamp.write_text(wanted)
    return python


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--whole", action="store_true", help="all tests")
    parser.add_argument("--rest", action="store_true", help="all tests but the selection")
    parser.add_argument("--environment", type=Path, help="its folder, instead of one in .tests/")
    options, more = parser.parse_known_args()
    if sys.version_info < (3, 11):  # noqa: UP036, for those who have an older one
        sys.exit(f"ganbench needs Python 3.11, 3.12 or 3.13; this is {sys.version.split()[0]} in {sys.executable}")
    try:
        python = prepare((options.environment or ROOT / ".tests" / "{}.{}".format(*sys.version_info[:2])).absolute())
    except subprocess.CalledProcessError:
        print("FAILED: the installation; what went wrong stands above", flush=True)
        return 1
    name, chosen = "the whole suite", []
    if options.rest:
        name = "all tests but the selection"
        chosen = [f"--deselect={line}" for line in (ROOT / SELECTION).read_text().split()]
    elif not options.whole:
        name, chosen = "the selection of tests", [f"@{SELECTION}"]
    print(f"Running {name}", flush=True)
    # No bytecode would mean to compile ganbench in every process that a test starts. One thread, since there is a
    # process a core, and since a trained network depends on it.
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")}
    environment |= {"OMP_NUM_THREADS": "1", "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    begun = time.monotonic()
    # -P: the installed ganbench and not the checkout's.
    pytest = [str(python), "-P", "-m", "pytest", "-q", "-n", "auto", "--maxprocesses", "8", *chosen, *more]
    code = subprocess.run(pytest, cwd=ROOT, env=environment).returncode
    print(f"{'FAILED' if code else 'PASSED'}: {name}, after {time.monotonic() - begun:.0f} s", flush=True)
    if not (options.whole or options.rest):
        print("The whole suite: python tests/run.py --whole", flush=True)
    return 1 if code else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("INTERRUPTED: run it again to go on with the installation, or to begin the tests anew")
