"""The check ``devices`` where there is no GPU: every mistake is found, with its line, and what is none is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from ganbench.conformance import CheckFailed, checks_for
from ganbench.conformance.pretended_device import pretended
from ganbench.conformance.variant_runner import VariantRunner

FIXTURES = Path(__file__).parents[1] / "fixtures"
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a real GPU is used, and none is pretended")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FIXTURES))


def devices(cls) -> str | None:
    return next(check for check in checks_for(cls) if check.name == "devices")(cls)


TEXT = (FIXTURES / "device_mistakes.py").read_text()
NAMES = re.findall(r"^@mistake.*\ndef (\w+)|^    ([A-Z]\w+): ", TEXT, re.M)


@pytest.mark.parametrize("name", [one or other for one, other in NAMES])
def test_a_mistake_is_found_and_where_it_stands(name: str) -> None:
    import device_mistakes

    cls = getattr(device_mistakes, name)
    VariantRunner(cls).trained(2)  # on the CPU there is nothing to see
    with pytest.raises(CheckFailed, match=device_mistakes.MISTAKES[cls]) as failed:
        devices(cls)
    text = (FIXTURES / "device_mistakes.py").read_text().splitlines()
    if named := re.search(r"device_mistakes.py, line (\d+)", str(failed.value)):
        assert text[int(named[1]) - 1].startswith("    ")
    else:  # where it shows, ganbench and torch alone are at work
        assert name in ("Latent", "Momentum")


@pytest.mark.parametrize(
    "name",
    ["an_item", "a_copy_to_the_cpu", "a_tensor_of_a_list", "a_boolean_mask", "adaptive_pooling", "its_numpy_method"],
)
def test_where_there_is_a_gpu_its_own_warnings_tell(name: str) -> None:
    import device_mistakes

    cls = getattr(device_mistakes, name)
    expected = device_mistakes.MISTAKES[cls].partition(" .*")[0]
    with pretended("cuda"), pytest.raises(CheckFailed, match=expected):
        torch.cuda.set_device(1)
        devices(cls)


def test_where_there_is_a_gpu_what_is_no_mistake_passes_and_its_settings_come_back() -> None:
    import device_mistakes

    with pretended("cuda"):
        assert devices(device_mistakes.Fine) == "CPU and GPU"
        assert torch.cuda.get_sync_debug_mode() == torch.get_deterministic_debug_mode() == 0


def test_what_is_no_mistake_passes() -> None:
    import device_mistakes
    from flawed import Sound

    for cls in (Sound, *device_mistakes.FINE):
        VariantRunner(cls).trained(2)
        assert devices(cls) == "CPU, and a pretended GPU; torch sees no GPU here"


def test_the_process_is_as_before() -> None:
    from flawed import Sound

    before = torch.tensor, torch.Generator, torch.Tensor.to, torch.Tensor.device, torch.cuda.is_available
    devices(Sound)
    assert before == (torch.tensor, torch.Generator, torch.Tensor.to, torch.Tensor.device, torch.cuda.is_available)
    assert torch.zeros(3).device.type == "cpu" and not torch.cuda.is_available()
