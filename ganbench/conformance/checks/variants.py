"""Checks of a variant's shapes, of what it learns from, and of its speed."""

from __future__ import annotations

import statistics
import time

import torch
from torch import Tensor, nn

from ganbench.conformance.checking import Suite
from ganbench.conformance.errors import CheckFailed, NotChecked
from ganbench.conformance.variant_runner import (
    BATCH,
    IMAGES,
    POINTS,
    VariantRunner,
    differing_names,
    during,
    fingerprints,
    same_bits,
    scoring,
    shape_text,
)
from ganbench.discovery.catalog import DiscoveryError
from ganbench.discovery.loader import discover
from ganbench.plugin.gan import GAN
from ganbench.plugin.interfaces import NotApplicable
from ganbench.plugin.variant import Batch, Clock, Unsuitable, Variant
from ganbench.utils.console import first_few

VARIANTS = Suite("variant")
STEPS = 8
ROLES = {"generator", "discriminator"}
LONG = 50
MOST_TIMES = 50.0  # as long as a step of DCGAN: its default study on two cores would take an hour instead of a minute
TIMED = 64  # rows of a batch, the harness's default
ROUNDS = 10
DRAWN = 64  # samples that are compared: enough that one in twenty that is no fake is among them


@VARIANTS.check(
    """A benchmark runs a variant on data that its author has not seen: it trains and samples on any shape, or raises
    Unsuitable in __init__, which leaves the pair out instead of failing it."""
)
def shapes_and_dtypes(runner: VariantRunner) -> str:
    suited, left = [], []
    for shape in (*IMAGES, POINTS):
        with during(f"on {shape_text(shape)}, __init__, train_step or sample"):
            try:
                variant = runner.build(shape)
            except Unsuitable:
                left.append(shape_text(shape))
                continue
            _try(runner, variant)
        suited.append(shape_text(shape))
    if not suited:
        raise CheckFailed("it raises Unsuitable for every shape from 8x8x1 to 64x64x3 and for points")
    return ", ".join(suited) + (f"; unsuitable: {', '.join(left)}" if left else "")


def _try(runner: VariantRunner, variant: Variant) -> None:
    on = shape_text(tuple(variant.shape))
    runner.train(variant, 2)
    try:
        runner.sample(variant, 3)
    except CheckFailed as reason:
        raise CheckFailed(f"on {on}: {reason}") from None
    threshold = variant.decision_threshold
    if threshold is not None and type(threshold) not in (int, float):
        raise CheckFailed(f"decision_threshold is {threshold!r}: a number, or None for a critic")
    x = runner.batch(0, tuple(variant.shape)).data
    with scoring(variant):
        if variant.score_real is not None:
            _expect(variant.score_real(x), (BATCH,), f"on {on}: score_real")
        if variant.discriminator_features is not None:
            try:
                features = variant.discriminator_features(x)
            except NotApplicable:
                return
            _expect(features, (BATCH, None), f"on {on}: discriminator_features")


def _expect(found: object, shape: tuple[int | None, ...], what: str) -> None:
    wanted = "(n,)" if len(shape) == 1 else "(n, d)"
    if not isinstance(found, Tensor) or found.dim() != len(shape) or found.shape[0] != shape[0]:
        got = f"a tensor {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise CheckFailed(f"{what} of {shape[0]} rows returned {got}: return a tensor {wanted}")


@VARIANTS.check(
    """Contract, rule 8. An L2 loss to real images, or statistics copied from them, would make a supervised model of a
    GAN, and so would real images kept aside and sampled: with every discriminator module silenced, other real images
    must make the same generator and the same samples, bit for bit."""
)
def learns_only_through_the_discriminator(runner: VariantRunner) -> str | None:
    if not issubclass(runner.cls, GAN):
        raise NotChecked("it is no GAN: only a GAN has to learn through a discriminator")
    found, samples = [], []
    for stream in ("data", "data", "other data"):
        variant = runner.build()
        assert isinstance(variant, GAN)
        if not variant.optimizers.keys() >= ROLES:
            raise NotChecked("it has no optimizers called generator and discriminator; see optimizers_named")
        _silence(variant)
        with during("with a discriminator whose outputs and gradients are zero, train_step"):
            runner.train(variant, STEPS, stream=stream)
        owned = {id(p) for group in variant.optimizers["generator"].param_groups for p in group["params"]}
        named: dict[str, Tensor] = {n: p for n, p in variant.named_parameters() if id(p) in owned}
        named |= {f"generator.{n}": b for n, b in variant.generator.named_buffers()}
        found.append(fingerprints({"generator": named}))
        with during("sample"):
            samples.append(runner.sample(variant, DRAWN))
    first, again, other = found
    if first != again or not same_bits(samples[0], samples[1]):
        raise NotChecked("two equal trainings already differ; see deterministic_under_a_seed")
    if moved := differing_names(first, other):
        raise CheckFailed(
            f"with a silenced discriminator, other real images still change {first_few(moved)} within {STEPS} steps: "
            "compare fakes with real images only inside the discriminator"
        )
    if not same_bits(samples[0], samples[2]):
        raise CheckFailed(
            f"with a silenced discriminator, {STEPS} steps with other real images leave the same generator and other "
            "samples: sample must draw nothing from real images that a buffer, memory or an attribute keeps"
        )
    return None


def _silence(variant: GAN) -> None:
    held = {id(p) for group in variant.optimizers["discriminator"].param_groups for p in group["params"]}
    for module in variant.modules():
        if module is not variant and any(id(p) in held for p in module.parameters(recurse=False)):
            module.register_forward_hook(_zeros)
    for module in variant.discriminator.modules():
        if not list(module.children()) or module is variant.discriminator:
            module.register_forward_hook(_zeros)


def _zeros(module: nn.Module, arguments: object, output: object) -> object:
    if isinstance(output, Tensor):
        return output * 0
    return type(output)(_zeros(module, None, o) for o in output) if isinstance(output, tuple | list) else output


@VARIANTS.check(
    """Divergence is a result of a benchmark, not a starting point: with its defaults, on images as harmless as can be,
    fifty steps must stay finite."""
)
def finite_losses(runner: VariantRunner) -> str:
    variant = runner.build()
    last: dict[str, Tensor] = {}
    for i in range(LONG):
        with during(f"train_step number {i}"):
            last = runner.step(variant, i, LONG)
        for name, value in last.items():
            if not bool(torch.isfinite(value).all()):
                raise CheckFailed(f"the loss {name!r} is {float(value.detach())} at step {i}")
    for name, parameter in variant.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise CheckFailed(f"the parameter {name} is not finite after {LONG} steps")
    if not bool(torch.isfinite(runner.sample(variant)).all()):
        raise CheckFailed(f"a sample is not finite after {LONG} steps")
    return f"{LONG} steps; at the last " + (
        ", ".join(f"{k} {float(v.detach()):.3g}" for k, v in last.items()) or "no loss"
    )


@VARIANTS.check(
    f"""A study is as slow as its slowest variant: a step takes less than {MOST_TIMES:g} times as long as one of DCGAN
    on the same machine, with batches of {TIMED} images of 28x28 (or the smallest that suits)."""
)
def time_per_step(runner: VariantRunner) -> str:
    try:
        dcgan = VariantRunner(discover([("variant", "dcgan")]).get("variant", "dcgan").thing, runner.device)
    except DiscoveryError as reason:
        raise NotChecked(f"there is no DCGAN to compare with: {reason}") from None
    shape = runner.first_shape
    try:
        variant = runner.build(IMAGES[2])
        shape = IMAGES[2]
    except Unsuitable:
        variant = runner.build(shape)
    rivals = [(runner, variant), (dcgan, dcgan.build(shape if len(shape) == 3 else IMAGES[0]))]
    seconds: list[list[float]] = [[], []]
    for i in range(ROUNDS + 2):  # turn by turn: what else the machine does hits both
        for (owner, rival), taken in zip(rivals, seconds, strict=True):
            taken.append(_timed(owner, rival, i))
    own, other = (statistics.median(taken[2:]) for taken in seconds)
    text = f"{own * 1e3:.1f} ms at {shape_text(shape)}, {own / other:.2f} times DCGAN's {other * 1e3:.1f} ms"
    if own > MOST_TIMES * other:
        raise CheckFailed(f"{text}: more than {MOST_TIMES:g} times")
    return text


def _timed(runner: VariantRunner, variant: Variant, i: int) -> float:
    batch: Batch = runner.batch(i, tuple(variant.shape), rows=TIMED)
    steps = ROUNDS + 2
    clock = Clock(i, i * TIMED, steps * TIMED, i / steps, i == steps - 1)
    start = time.perf_counter()
    with during("train_step with a batch of 64"):
        variant.train_step(batch, clock)
    if runner.device.type == "cuda":
        torch.cuda.synchronize(runner.device)
    return time.perf_counter() - start
