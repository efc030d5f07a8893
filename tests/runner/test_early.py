"""What can be refused from metadata alone is refused before torch is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
import sys
from ganbench.cli import main
try:
    main()
finally:
    print("imported", sorted({"torch", "pandas"} & sys.modules.keys()))
"""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("-p dcgn", "there is no variant 'dcgn'; did you mean dcgan"),
        ("-p digits", "there is no variant 'digits'"),
        ("-p vanilla -d ring9", "there is no dataset 'ring9'; did you mean ring8?"),
        ("-p vanilla -m fidd", "there is no metric 'fidd'; did you mean fid"),
        ("-p vanilla --extractor incepton-v3", "there is no extractor 'incepton-v3'; did you mean inception-v3"),
        ("-p vanilla --device gpu", "--device gpu: expected auto, cpu, cuda, cuda:N or mps"),
        ("-p vanilla --results file", "file is a file"),
        ("-p vanilla --results file/below", "file is a file"),
    ],
)
def test_a_misspelt_request_is_refused_without_torch(tmp_path: Path, arguments: str, told: str) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-c", RUN, "run", *arguments.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and told in done.stderr
    assert "imported []" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
