"""Checks that a variant's state survives: equal bits when repeated, saved, resumed, sampled, moved and pickled."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections import Counter
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import torch
from torch import Tensor, nn

from ganbench.conformance import fresh_process
from ganbench.conformance.checks.variants import STEPS, VARIANTS
from ganbench.conformance.device_use import Seen, watched
from ganbench.conformance.errors import CheckFailed, NotChecked
from ganbench.conformance.process_state import process_state, restore_process_state
from ganbench.conformance.variant_runner import (
    BATCH,
    TORCHS_OWN,
    VariantRunner,
    differing_names,
    differing_parts,
    during,
    fingerprints,
    lost_attributes,
    same_bits,
    scoring,
)
from ganbench.harness.checkpoint import capture, restore
from ganbench.harness.evaluation import eval_mode
from ganbench.harness.metric_values import InvalidOutput
from ganbench.harness.serialization import fingerprint, load, save
from ganbench.plugin.interfaces import NotApplicable
from ganbench.plugin.variant import Clock, Variant
from ganbench.utils.console import first_few
from ganbench.utils.errors import in_words
from ganbench.utils.seeding import generator, rng_state, set_rng_state

REHEARSED = 6  # steps on a pretended GPU: in the fifth a critic with five updates for one of the generator has both
STOPS = (0, STEPS // 2)  # the steps after which a training is stopped


@VARIANTS.check(
    """The seed of a trial decides every bit of it. In train_step draw from torch's, numpy's and random's global
    generators, which the harness seeds; in sample from rng alone. No time, no os.urandom, no generator of your own."""
)
def deterministic_under_a_seed(runner: VariantRunner) -> None:
    with during("train_step"):
        first, again = (runner.trained(STEPS) for _ in range(2))
    if moved := differing_parts(capture(first), capture(again)):
        raise CheckFailed(f"two trainings of {STEPS} steps under one seed differ in {first_few(moved)}")
    with during("sample"):
        before, after = runner.sample(first), runner.sample(again)
        if not same_bits(before, after):
            raise CheckFailed("two calls of sample with one rng and the same weights differ")
        with scoring(first, seed=1):
            other = first.sample(len(before), generator(3, runner.device)).detach().float()
    if not same_bits(before, other):
        raise CheckFailed("sample(n, rng) draws from a global generator too: pass generator=rng to every draw")


@VARIANTS.check(
    """A finished trial is scored again from its stored state. What sampling needs is in parameters, buffers,
    optimizers, plain scalar attributes or memory; all else (a list of tensors, a module outside the tree) is lost."""
)
def exact_save_and_load(runner: VariantRunner) -> None:
    variant = runner.trained(STEPS)
    loaded = _loaded(runner, variant)
    if moved := differing_parts(capture(variant), capture(loaded)):
        raise CheckFailed(f"what was loaded differs from what was saved in {first_few(moved)}")
    x = runner.batch(0, tuple(variant.shape)).data
    for name, of in (("sample", runner.sample), ("score_real", lambda v: _scores(v, x))):
        if not same_bits(of(variant), of(loaded)):
            raise CheckFailed(f"{name} differs after saving and loading{_suspects(runner, variant)}")


@VARIANTS.check(
    """A killed trial goes on from its last checkpoint to the bits of an uninterrupted one. What training needs from one
    step to the next is in parameters, buffers, optimizers, plain scalars or memory; anneal by writing group['lr']."""
)
def exact_resume(runner: VariantRunner) -> None:
    whole = runner.build()
    with tempfile.TemporaryDirectory() as folder:
        for i in range(STEPS):
            with during("train_step"):
                runner.step(whole, i, STEPS)
            if i in STOPS:
                with during("writing a checkpoint"):
                    save(Path(folder, str(i)), {"variant": capture(whole), "rng": rng_state()})
        ended = fingerprints(capture(whole))
        _demand_determinism(runner, ended)
        for stopped in STOPS:
            resumed, saved = runner.build(), load(Path(folder, str(stopped)), runner.device)
            with during(f"resuming from a checkpoint of step {stopped + 1}"):
                restore(resumed, saved["variant"])
                set_rng_state(saved["rng"])
                runner.train(resumed, STEPS, stopped + 1)
            if moved := differing_names(ended, fingerprints(capture(resumed))):
                raise CheckFailed(
                    f"stopped after step {stopped + 1} of {STEPS} and resumed, it ends with other "
                    f"{first_few(moved)}{_suspects(runner, whole)}"
                )


@VARIANTS.check(
    """How often a variant is evaluated must not change one bit of its final weights: sample, score_real and
    discriminator_features leave parameters, buffers, scalars, memory and optimizers as they are."""
)
def sampling_leaves_training_untouched(runner: VariantRunner) -> None:
    with during("train_step"):
        alone = fingerprints(capture(runner.trained(STEPS)))
    watched = runner.build()
    for i in range(STEPS):
        with during("sample, score_real or discriminator_features"):
            try:
                _evaluate(runner, watched, i)
            except InvalidOutput as reason:
                raise CheckFailed(f"{reason}: count and average in train_step") from None
        with during("train_step after an evaluation"):
            runner.step(watched, i, STEPS)
    if moved := differing_names(alone, fingerprints(capture(watched))):
        _demand_determinism(runner, alone)
        raise CheckFailed(f"a training with evaluations ends with other {first_few(moved)} than one without")


def _demand_determinism(runner: VariantRunner, ended: dict[str, str]) -> None:
    """Raise NotChecked where another training, as it is, ends otherwise: nothing follows from a comparison then."""
    if fingerprints(capture(runner.trained(STEPS))) != ended:
        raise NotChecked("two equal trainings already differ; see deterministic_under_a_seed")


def _evaluate(runner: VariantRunner, variant: Variant, step: int) -> None:
    with eval_mode(variant, 0):
        variant.sample(BATCH, generator(3, runner.device))
        x = runner.batch(step, tuple(variant.shape), "held out").data
        if variant.score_real is not None:
            variant.score_real(x)
        if variant.discriminator_features is not None:
            with contextlib.suppress(Exception):  # shapes_and_dtypes is about what it returns
                variant.discriminator_features(x)


@VARIANTS.check(
    """Settings of the process (threads, default dtype, deterministic kernels, warnings, environment, working folder)
    are the harness's, and so are the seeds: a variant that reseeds a generator repeats the same noise at every step."""
)
def no_global_state_changed(runner: VariantRunner) -> None:
    for attempt in (0, 1):  # what a first use imports (compilers, libraries) may set is not the variant's doing
        before = process_state()
        with during("__init__, train_step or sample"):
            runner.sample(runner.trained(2))
        after = process_state()
        restore_process_state(before)
        changed = [name for name in before if after[name] != before[name]]
        if changed and attempt:
            raise CheckFailed(f"it changes {first_few(changed)} of the whole process: leave that to whoever runs it")
    for what in ("__init__", "train_step"):
        ends = []
        for seed in (1, 2):
            runner.construct(runner.first_shape, seed) if what == "__init__" else runner.trained(2, seed)
            ends.append(rng_state())
        for name in ("torch", "numpy", "random"):
            if fingerprint(ends[0][name]) == fingerprint(ends[1][name]):
                raise CheckFailed(f"{what} seeds the global generator of {name}: leave seeding to the harness")


@VARIANTS.check(
    """A variant is built on the CPU and then moved, and trials may run on a GPU. Constants are buffers
    (register_buffer), new tensors are made on the device of what they meet: torch.zeros(n, device=z.device). A step
    that reads a value of the GPU (item, float, print, a boolean mask) or copies from or to it lets the GPU stand idle;
    an operation without a deterministic kernel gives other bits each time."""
)
def devices(runner: VariantRunner) -> str:
    _exercise(runner)
    if torch.cuda.is_available():
        with watched() as seen:
            found = _rehearse(runner.cls, "a GPU", torch.cuda.current_device(), seen)
        return f"CPU and GPU{found}"
    from ganbench.conformance.pretended_device import pretended

    with pretended("cuda") as seen, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of operations without a deterministic kernel, which are counted
        found = _rehearse(runner.cls, "a pretended GPU", 1, seen)  # not the first, to find what means "cuda:0" alone
    return f"CPU, and a pretended GPU{found}; torch sees no GPU here"


def _exercise(runner: VariantRunner) -> None:
    """Train, sample and score on the runner's device."""
    variant = runner.build()
    for path, module in variant.named_modules():
        for name, value in vars(module).items():
            if name in TORCHS_OWN or name == "memory" or not _plain(value):
                continue
            raise CheckFailed(
                f"self.{path + '.' if path else ''}{name} holds a tensor that is no buffer: it stays on the CPU "
                "when the variant is moved, and no checkpoint has it; use register_buffer, or memory"
            )
    with during(f"on {runner.device}, train_step or sample"):
        runner.train(variant, 4)
        _draw_and_score(runner, variant)


def _draw_and_score(runner: VariantRunner, variant: Variant) -> None:
    runner.sample(variant)
    x = runner.batch(0, tuple(variant.shape)).data
    with scoring(variant):
        if variant.score_real is not None:
            variant.score_real(x)
        if variant.discriminator_features is not None:
            with contextlib.suppress(NotApplicable):
                variant.discriminator_features(x)


def _rehearse(cls: type[Variant], called: str, index: int, seen: Seen) -> str:
    """Train, sample and score on a GPU; raises CheckFailed for what it refuses, waits for or does not repeat.

    The first and the last step may wait (to set up, to report), and so may what has no optimizers, a baseline or a
    planted failure: where it waits is returned.
    """
    torch.cuda.set_device(index)
    runner = VariantRunner(cls, torch.device("cuda", index))
    waits: Counter[str] = Counter()
    deterministic = torch.get_deterministic_debug_mode()
    try:
        torch.set_deterministic_debug_mode("warn")
        with during(f"on {called}, train_step or sample"):
            variant = runner.build()
            batches = [runner.batch(i, tuple(variant.shape)) for i in range(REHEARSED)]
            for i, batch in enumerate(batches):
                for counter in (seen.waits, seen.to_device, seen.to_host):
                    counter.clear()
                clock = Clock(i, i * BATCH, REHEARSED * BATCH, i / REHEARSED, i == REHEARSED - 1)
                variant.train_step(batch, clock)
                if 0 < i < REHEARSED - 1:
                    waits += seen.waits
                    waits += Counter({f"{line} (a copy to the GPU)": n for line, n in seen.to_device.items()})
                    waits += Counter({f"{line} (a copy to the CPU)": n for line, n in seen.to_host.items()})
            _draw_and_score(runner, variant)
    finally:
        torch.set_deterministic_debug_mode(deterministic)
    if seen.nondeterministic:
        raise CheckFailed(
            f"on a GPU its bits would not repeat: no deterministic kernel for {_lines(seen.nondeterministic)}"
        )
    found = _lines(waits)
    if found and variant.optimizers and cls.role == "variant":
        raise CheckFailed(f"in a step, a GPU would wait at {found}: return losses as tensors, and keep to the GPU")
    return found and f": in a step it waits at {found}"


def _lines(counted: Counter[str], most: int = 3) -> str:
    """The lines that were counted, the most frequent first."""
    return first_few([line for line, _ in counted.most_common()], most, "; ")


def _plain(value: object) -> bool:
    """Whether an attribute is, or is a list or dict of, tensors that belong to no module."""
    if isinstance(value, dict):
        value = list(value.values())
    found = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(item, Tensor) and not isinstance(item, nn.Parameter) for item in found)


@VARIANTS.check(
    """Trials run in processes of their own. The class is found by its module and name, and a built variant can be
    pickled: no lambda and no local function as an attribute, no open file."""
)
def picklable_across_processes(runner: VariantRunner) -> None:
    variant = runner.trained(2)
    try:
        sent = bytes(ForkingPickler.dumps(variant))
    except Exception as reason:
        raise CheckFailed(f"a built variant cannot be pickled: {in_words(reason)}; {_unpicklable(variant)}") from None
    if not fresh_process.same_elsewhere(sent, runner.sample(variant)):
        raise CheckFailed("unpickled in a fresh process, it draws other samples from the same generator")


def _unpicklable(variant: Variant) -> str:
    """Names of the attributes that are the reason, as far as one can say."""
    found = []
    for path, module in variant.named_modules():
        for name, value in vars(module).items():
            if name in ("_modules", "_parameters", "_buffers"):
                continue
            try:
                ForkingPickler.dumps(value)
            except Exception:
                found.append(f"self.{path + '.' if path else ''}{name}")
    return f"look at {first_few(found)}" if found else "define its classes and functions at the top of a module"


def _loaded(runner: VariantRunner, variant: Variant) -> Variant:
    """A fresh variant with the state of another one, through a file."""
    with tempfile.TemporaryDirectory() as folder:
        with during("saving"):
            save(Path(folder, "state"), capture(variant))
        fresh = runner.build()
        with during("loading"):
            restore(fresh, load(Path(folder, "state"), runner.device))
    return fresh


def _scores(variant: Variant, x: Tensor) -> Tensor:
    if variant.score_real is None:
        return x[:0]
    with scoring(variant):
        found: Tensor = variant.score_real(x)
    return found


def _suspects(runner: VariantRunner, trained: Variant) -> str:
    """What training changed and no checkpoint holds, for a message."""
    found = lost_attributes(runner.build(), trained)
    return f". Training changes {first_few(found)}, which is no buffer, scalar or memory and is lost" if found else ""
