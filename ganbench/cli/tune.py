"""``ganbench tune``: the budget protocol of Lucic et al., "Are GANs Created Equal? A Large-Scale Study" (2018).

Every variant gets the same number of configurations, each trained once; the best one is then trained over fresh
seeds, beside the defaults. Configurations are ordinary trials in two ordinary results folders, ``search`` and
``final``, so that a search is interrupted, continued, reported and compared as any sweep.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganbench.cli.options import engine_options, request_options, results_option
from ganbench.executors import EngineLost
from ganbench.plugin.hyperparameters import label
from ganbench.reporters import DEFAULT
from ganbench.results.spec import Planned
from ganbench.results.store import Store, read_records
from ganbench.runner.early import check_request
from ganbench.runner.planning import Plan, Request, parse_seeds, parse_settings
from ganbench.utils.console import plain, say
from ganbench.utils.errors import EXIT_COMPLETED, EXIT_DAMAGED, EXIT_FAILED, UsageError

if TYPE_CHECKING:
    from ganbench.runner.session import Session
    from ganbench.tuning.proposals import Proposer, Values
    from ganbench.tuning.tables import Search


@click.command("tune")
@request_options
@click.option(
    "--trials",
    type=click.IntRange(1, 100_000),
    default=20,
    show_default=True,
    help="Configurations of each variant, its defaults among them.",
)
@click.option(
    "--sampler",
    type=click.Choice(["random", "tpe"]),
    default="random",
    show_default=True,
    help="random: uniform over the declared ranges; tpe: learns from the scores, in rounds of 10.",
)
@click.option(
    "--seeds",
    multiple=True,
    metavar="N|LIST",
    help="Final seeds, for the best configuration and the defaults.  [default: 5]",
)
@click.option(
    "--search-seed",
    type=click.IntRange(0, 2**62),
    default=1000,
    show_default=True,
    metavar="N",
    help="Decides the configurations; number i is trained with seed N + i.",
)
@engine_options
@results_option("Folder for the search, the final trials and the tables.", "tuning")
@click.option("--dry-run", is_flag=True, help="Say what would be trained, and stop.")
def command(
    *,
    plugins: tuple[str, ...],
    trials: int,
    sampler: str,
    seeds: tuple[str, ...],
    search_seed: int,
    settings: tuple[str, ...],
    metrics: tuple[str, ...],
    results: Path,
    dry_run: bool,
    **rest: Any,
) -> None:
    """Search hyperparameters: the same budget for every variant, the best one on fresh seeds.

    Each variant gets the same number of configurations from the ranges that its author declares (every bool and choice
    too), its defaults always among them; each is trained once. What --set names is fixed, not searched. The best one
    and the defaults are then trained over seeds that the search has not seen. The search chooses by a fifth of the
    training split, which it leaves out of training; only the final trials are compared with the split of
    --reference, so that nothing is chosen by what is reported. A failed trial counts as a constant at the real mean;
    the exit code is 1 only if a final trial failed.

    The folder gets search/ and final/, two ordinary results folders, and tuning.csv (every configuration),
    tuning_curve.csv (expected best score of every budget) and tuning.md. The same command again continues, with more
    --trials too. Needs Optuna: pip install 'ganbench[tune]'.

    \b
    Examples:
      ganbench tune --plugins dcgan,vanilla --trials 100
      ganbench tune -p vanilla -d ring8 --trials 20 --images 64000 --seeds 10
      ganbench tune -p dcgan --set dcgan.width=32 --sampler tpe --results tuned-dcgan
    """
    options = {name: rest.pop(name) for name in [*rest] if name not in Request.__dataclass_fields__}
    final, searched = parse_seeds(seeds), tuple(range(search_seed, search_seed + trials))
    if shared := sorted(set(final) & set(searched)):
        raise UsageError(
            f"seed {shared[0]} is in --seeds and among the search's own, {searched[0]} to {searched[-1]}: the best "
            "configuration has to prove itself on fresh ones; choose others with --seeds or --search-seed"
        )
    if rest["split"] == "validation":
        raise UsageError(
            "a search compares with the validation split as it is; --reference says what its final trials are compared "
            "with: test or train"
        )
    rows = parse_settings(settings, plugins)
    if len(plugins) > len(set(plugins)) or any(len(of) > 1 for of in rows.values()):
        raise UsageError("a variant named twice, and a grid in --set, are for ganbench run: tune chooses the values")
    request = Request(
        plugins=plugins,
        seeds=(*searched, *final),
        settings=rows,
        metrics=metrics or None,
        **rest,
    )
    notes = check_request(request, options["executor"])  # before what takes seconds to import

    from ganbench.reporters.report import write_reports
    from ganbench.reporters.terminal import show, summarise
    from ganbench.runner.session import EngineOptions, run_session
    from ganbench.tuning.proposals import optuna, rounds
    from ganbench.tuning.tables import write_tables

    optuna()
    engine = EngineOptions.pop_from(options)

    def work(session: Session) -> Callable[[], int]:
        for text in notes:
            session.screen.note(text)
        candidates = _plan_searches(session, request, trials, sampler, search_seed, prepare=not dry_run)
        root, search, finals = Store(results), engine.store(results, "search"), engine.store(results, "final")
        groups = rounds(sampler, trials)
        if dry_run:
            return lambda: _dry_run(candidates, search, groups, final, session.slots)
        with contextlib.ExitStack() as locks:
            for store in (root, search, finals):
                locks.enter_context(store.locked())
            _refuse_another_request(search, candidates)
            for numbers in groups:
                batch = [candidate.proposed(numbers) for candidate in candidates]
                _require_all(session.sweep(search, request, Plan([*chain.from_iterable(batch)], [], [])))
                _score_tried(candidates, search, batch)
            statuses = _train_finals(session, request, finals, candidates)
            problems = write_reports(search.root, DEFAULT)[0].problems
            contents, report = write_reports(finals.root, DEFAULT)
            searches = [candidate.search for candidate in candidates]
            write_tables(searches, results)

        def conclude() -> int:
            show(report)
            summarise(contents, finals.root)
            _print_searches(searches)
            say(f"Search: {results / 'tuning.md'}, tuning.csv, tuning_curve.csv; its trials: {search.root}.")
            for problem in problems:
                say(f"left out: {problem.path}: {problem.reason}", sys.stderr)
            if problems or contents.problems:
                return EXIT_DAMAGED
            return EXIT_COMPLETED if set(statuses) <= {"completed"} else EXIT_FAILED

        return conclude

    sys.exit(run_session(engine, request.threads, work))


@dataclass(frozen=True)
class Candidate:
    """One variant on one dataset: its search, and the trials that it trains.

    Attributes:
        slots: the trials of the search seeds, one a configuration, still with the defaults.
        finals: the trials of the final seeds, with the defaults.
    """

    search: Search
    proposer: Proposer
    defaults: Values
    slots: list[Planned]
    finals: list[Planned]

    def proposed(self, numbers: Sequence[int]) -> list[Planned]:
        """The trials of these configurations; a variant without ranges has configuration 0 alone."""
        numbers = [n for n in numbers if n == 0 or self.proposer.space]
        earlier = [(one.trial.spec.hyperparameters, one.score) for one in self.search.tried]
        return [self.configured(self.slots[n], self.proposer.configuration(n, earlier)) for n in numbers]

    def configured(self, trial: Planned, values: Values) -> Planned:
        """The trial with other hyperparameters."""
        spec = replace(trial.spec, hyperparameters=values)
        return replace(trial, spec=spec, label=label(spec.variant, values, self.defaults))

    def chosen(self) -> list[Planned]:
        """The trials of the best configuration over the final seeds."""
        values = self.search.tried[self.search.chosen].trial.spec.hyperparameters
        return [self.configured(trial, values) for trial in self.finals]


def _plan_searches(
    session: Session, request: Request, trials: int, sampler: str, seed: int, prepare: bool = True
) -> list[Candidate]:
    """Plan a search for each variant on each dataset that it suits.

    The search trains on four fifths of the training split and chooses by the rest; only the final trials are compared
    with the split of --reference, which nothing was chosen by.
    """
    from ganbench.tuning.proposals import Proposer
    from ganbench.tuning.tables import Search

    searched = replace(request, seeds=request.seeds[:trials], split="validation")
    slots = session.plan(searched, prepare).trials
    finals = session.plan(replace(request, seeds=request.seeds[trials:]), prepare).trials
    payloads = [{"kind": "space", "variant": name, "threads": request.threads} for name in request.plugins]
    about = dict(zip(request.plugins, session.ask(payloads), strict=True))
    groups: dict[tuple[str, str], list[Planned]] = {}
    for trial in (*slots, *finals):
        groups.setdefault((trial.spec.dataset, trial.spec.variant), []).append(trial)
    found = []
    for (dataset, variant), mine in groups.items():
        (fixed,) = request.settings.get(variant, [{}])
        space = {name: limits for name, limits in about[variant]["space"].items() if name not in fixed}
        base, direction = mine[0].spec.hyperparameters, mine[0].metrics[mine[0].primary]["direction"]
        proposer = Proposer(variant, space, base, sampler, seed, direction)
        if not space:
            session.screen.note(f"{variant}: it declares no range to search, so only its defaults are trained")
        search = Search(variant, dataset)
        found.append(Candidate(search, proposer, about[variant]["defaults"], mine[:trials], mine[trials:]))
    return found


def _refuse_another_request(store: Store, candidates: Sequence[Candidate]) -> None:
    """Raise UsageError where a folder holds another search: its tables would mix trials that do not compare."""
    mine = {candidate.search.dataset: candidate.slots[0].spec.identity.protocol for candidate in candidates}
    for record in read_records(store.root).records:
        dataset, protocol = record.identity.trial.dataset, record.identity.protocol
        if mine.get(dataset, protocol) != protocol:
            raise UsageError(
                f"{store.root} holds a search on {dataset} under protocol {protocol}, and this request has protocol "
                f"{mine[dataset]} (another budget, batch size, extractor or number of samples); give it a folder of "
                "its own with --results"
            )


def _score_tried(candidates: Sequence[Candidate], store: Store, batch: Sequence[Sequence[Planned]]) -> None:
    """Score everything that was tried so far: what a failure counts as may depend on all trials of a dataset."""
    from ganbench.tuning.tables import score

    for dataset in dict.fromkeys(candidate.search.dataset for candidate in candidates):
        mine = [(c.search, new) for c, new in zip(candidates, batch, strict=True) if c.search.dataset == dataset]
        tried = [[*(one.trial for one in search.tried), *new] for search, new in mine]
        scored = iter(score(store, [*chain.from_iterable(tried)]))
        for (search, _), trials in zip(mine, tried, strict=True):
            search.tried = [next(scored) for _ in trials]


def _train_finals(session: Session, request: Request, store: Store, candidates: Sequence[Candidate]) -> Counter[str]:
    """Train defaults and best configuration of each search over the final seeds."""
    from ganbench.tuning.tables import score

    wanted = [
        (candidate, candidate.finals, candidate.chosen() if candidate.search.chosen else candidate.finals)
        for candidate in candidates
    ]
    trials = list({trial.spec.id: trial for _, default, best in wanted for trial in (*default, *best)}.values())
    _set_aside(store, trials)
    statuses = session.sweep(store, request, Plan(trials, [], []))
    _require_all(statuses)
    for dataset in dict.fromkeys(trial.spec.dataset for trial in trials):
        mine = [trial for trial in trials if trial.spec.dataset == dataset]
        scored = {one.trial.spec.id: one for one in score(store, mine)}
        for candidate, default, best in wanted:
            if candidate.search.dataset == dataset:
                candidate.search.default = [scored[trial.spec.id] for trial in default]
                candidate.search.best = [scored[trial.spec.id] for trial in best]
    return statuses


def _require_all(statuses: Counter[str]) -> None:
    """Raise EngineLost where trials were not run: a search cannot choose among those that are left."""
    from ganbench.runner.scheduler import NOT_RUN

    if not_run := statuses[NOT_RUN]:
        raise EngineLost(f"{not_run} trials could not be run")


def _set_aside(store: Store, trials: Sequence[Planned]) -> None:
    """Move what an earlier, smaller search chose to ``superseded/``: it is no longer anybody's best."""
    wanted: dict[tuple[str, str], list[Values]] = {}
    for trial in trials:
        wanted.setdefault((trial.spec.dataset, trial.spec.variant), []).append(trial.spec.hyperparameters)
    for record in read_records(store.root).records:
        identity = record.identity.trial
        chosen = wanted.get((identity.dataset, identity.variant))
        if chosen is not None and identity.hyperparameters not in chosen:
            store.set_aside(store.place(record.identity), "superseded")


def _dry_run(
    candidates: Sequence[Candidate], store: Store, groups: Sequence[range], seeds: Sequence[int], slots: int | None
) -> int:
    from ganbench.runner.preview import preview

    first = [trial for candidate in candidates for trial in candidate.proposed(groups[0])]
    code = preview(Plan(first, [], []), store, slots)
    later = sum(map(len, groups[1:])) * sum(bool(candidate.proposer.space) for candidate in candidates)
    if later:
        say(f"then {later} configurations that depend on the scores of these")
    say(f"then the best configuration of each variant and its defaults, over {len(seeds)} fresh seeds")
    return code


def _print_searches(searches: Sequence[Search]) -> None:
    from ganbench.tuning.tables import expectations, summary

    for dataset in dict.fromkeys(search.dataset for search in searches):
        mine = [search for search in searches if search.dataset == dataset]
        say(f"{dataset}. The search: each configuration trained once.")
        for headings, rows in (summary(mine), expectations(mine)):
            sys.stdout.write(plain([headings, *rows]) + "\n")
