"""The duality gap: how far generator and discriminator are from an equilibrium of their game."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import numpy as np
import torch

from ganbench.metrics.numerics.checks import positive_integer
from ganbench.metrics.samples import normalised
from ganbench.plugin import hookimpl
from ganbench.plugin.gan import GAN
from ganbench.plugin.interfaces import Evidence, Metric, MetricError, NotApplicable
from ganbench.plugin.variant import Batch, Clock, device_of
from ganbench.utils.seeding import preserved_rng

STEPS = 200
SEED = 2020
OTHER = {"discriminator": "generator", "generator": "discriminator"}


def duality_gap(
    variant: GAN, finding: Batch, scoring: Batch, batch_size: int, steps: int = STEPS, rng: int = SEED
) -> float:
    """``M(u, v_worst) - M(u_worst, v)``: what either player would gain by answering the other one alone.

    M is what the discriminator maximises, minus ``discriminator_phase``, penalties included: for the losses
    of ``GAN`` ``E log D(x) + E log(1 - D(G(z)))`` in nats, for a critic its difference of means. Of a generator
    with a loss of its own (non-saturating, say) too it is M that is scored, since the gap of a game is defined for
    one value that one player raises and the other lowers; its answer follows its own loss, whose gradient does not
    vanish where the discriminator is sure.

    Each answer begins with the present networks, of which the other player's stay as they are, and takes
    ``steps`` updates by a fresh ``build_optimizer``: step sizes that had fallen to 0 would find no answer.
    Networks are in training mode, on copies; weights averaged over training are no players.

    Args:
        variant: left as it is, the global random states too.
        finding: real samples on the variant's device that the answers are found on.
        scoring: others, on which M is computed.
        batch_size: of training; whole batches are used, of at least one each.
        steps: updates of each answer.
        rng: seed of latents, batches and whatever the variant draws.

    Returns:
        The gap in units of the variant's loss: 0 at an equilibrium, larger the farther from it; below 0 by
        chance, or where ``steps`` find no better answer. A lower bound of the game's own gap, for few steps.

    Raises:
        MetricError: fewer real samples than one batch.
        NotApplicable: an answer diverged.

    Source:
        Grnarova et al. 2019, "A Domain Agnostic Measure for Monitoring and Evaluating GANs", section 3,
        with M of equation 1 times 2.
    """
    for name, real in (("finding", finding), ("scoring", scoring)):
        if len(real.data) < batch_size:
            raise MetricError(f"{name} needs at least one batch of {batch_size}, not {len(real.data)} samples")
    worst = {}
    with torch.enable_grad():
        for role in OTHER:
            with preserved_rng(rng):
                player = best_response(variant, role, finding, batch_size, positive_integer(steps, "steps"))
            with preserved_rng(rng + 1):  # the same draws on both sides
                worst[role] = game_value(player, scoring, batch_size)
    gap = worst["discriminator"] - worst["generator"]
    if not math.isfinite(gap):
        raise NotApplicable("a best response diverged")
    return gap


def best_response(variant: GAN, role: str, real: Batch, batch_size: int, steps: int) -> GAN:
    """The best response of a role: a copy of ``variant`` after ``steps`` updates of ``role``'s network alone."""
    player = copy.deepcopy(variant).train()
    # Both, fresh: `unrolled` reads how D would go on; only that of ``role`` is stepped.
    player.optimizers = {name: player.build_optimizer(getattr(player, name)) for name in OTHER}
    batches = shuffled(real, batch_size)
    for step in range(steps):
        batch, z = next(batches), player.latent(batch_size)
        if role == "discriminator":
            with torch.no_grad():
                fake = player.fake(z)
            player.update(role, player.discriminator_phase(batch, fake))
        else:
            player.update(role, player.generator_phase(batch, player.fake(z)))
        with torch.no_grad():  # clipped weights stay clipped; at the beginning of a budget no schedule acts
            player.settle(Clock(step, step * batch_size, steps * batch_size, 0.0, False))
    other = OTHER[role]  # its running statistics moved, and ``settle`` may have touched it
    getattr(player, other).load_state_dict(getattr(variant, other).state_dict())
    return player


def game_value(player: GAN, real: Batch, batch_size: int) -> float:
    """M, the mean over the whole batches of ``real`` against as many fakes."""
    values = []
    for start in range(0, len(real.data) - batch_size + 1, batch_size):
        with torch.no_grad():
            fake = player.fake(player.latent(batch_size))
        rows = slice(start, start + batch_size)
        batch = Batch(real.data[rows], None if real.labels is None else real.labels[rows])
        values.append(-player.discriminator_phase(batch, fake).detach().double())
    return float(torch.stack(values).mean())


def shuffled(real: Batch, batch_size: int) -> Iterator[Batch]:
    """Batches without end, every pass in another order."""
    n = len(real.data)
    while True:
        for rows in torch.randperm(n)[: n - n % batch_size].to(real.data.device).split(batch_size):
            yield Batch(real.data[rows], None if real.labels is None else real.labels[rows])


class DualityGap(Metric):
    """What generator and discriminator could still gain against each other as they stand; 0 is an equilibrium.

    Best responses are found on one half of the held-out samples and scored on the other.
    """

    name = "duality_gap"
    label = "Duality gap"
    direction = "min"
    cost = "end"
    needs = frozenset({"variant", "samples", "held_out"})
    constants = {"steps": STEPS, "halves": 2}
    floor = None
    requires = "a GAN; two held-out training batches"

    def __call__(self, evidence: Evidence) -> float:
        variant, real, size = evidence.variant, evidence.real, evidence.batch_size
        if not isinstance(variant, GAN):
            raise NotApplicable("there is no game of a generator and a discriminator")
        n = len(real.samples)
        if n < 2 * size:
            raise NotApplicable(f"{n} held-out samples have no two halves of a batch of {size}")
        order = np.random.default_rng(evidence.seed).permutation(n)
        device = device_of(variant)
        halves = [
            Batch(
                normalised(real.samples[rows]).to(device),
                None if real.labels is None else torch.from_numpy(real.labels[rows]).to(device),
            )
            for rows in (order[: n // 2], order[n // 2 :])
        ]
        return duality_gap(variant, halves[0], halves[1], size, rng=evidence.seed)


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [DualityGap()]
