"""An example report for reporters to write, made from records such as ``ganbench run`` writes."""

from __future__ import annotations

from ganbench.plugin.report import Report
from ganbench.reporters.report import build_report
from ganbench.results.records import compose
from ganbench.results.schema import Evaluation, Outcome, Record, Reference, Role, Watch
from ganbench.results.spec import Planned, Protocol, TrialSpec

EVALUATIONS = 20
METRICS = {
    "fid": {"label": "FID", "direction": "min"},
    "coverage": {"label": "Coverage", "direction": "max"},
    "a_new_one": {"label": 'A metric <of> a "plugin"', "direction": "none"},
}


def example_report() -> Report:
    """Two variants and a baseline over two seeds on one dataset; one trial failed."""
    scores = {"first": 2.0, "second": 3.0, "noise": 11.0}
    failed = ("second", 1)
    return build_report(
        [
            _record(name, score + seed / 10, seed, failed=(name, seed) == failed)
            for name, score in scores.items()
            for seed in (0, 1)
        ]
    )


def _record(variant: str, score: float, seed: int, failed: bool) -> Record:
    protocol = Protocol(6400, 64, "cpu", "digits-cnn", "0" * 64, 100, EVALUATIONS)
    spec = TrialSpec(variant, "example", "0" * 64, {}, "digits", "0" * 64, seed, protocol)
    role: Role = "baseline" if variant == "noise" else "variant"
    environment = {"python": "3", "packages": {"ganbench": "1"}, "device": "cpu", "threads": 1}
    planned = Planned(spec, variant, role, "fid", METRICS, environment, "cpu")
    reference = Reference(trace=20.0, modes=10, real=100, fake=100, features=64)
    outcome = Outcome(status="error", reason="RuntimeError: <b>bold</b> (example.py, line 1)")
    if not failed:
        values: dict[str, float | None] = {
            "fid": score,
            "coverage": 1 / score,
            "a_new_one": None if variant == "noise" else score,
        }
        history = [_evaluation(i, score, values) for i in range(EVALUATIONS + 1)]
        outcome = Outcome(status="completed", reason=None, values=values, evaluations=history)
    return compose(planned, reference, {"fid": 0.1, "coverage": 0.9}, outcome)


def _evaluation(i: int, score: float, values: dict[str, float | None]) -> Evaluation:
    step = i * 100 // EVALUATIONS
    fid = score * (1 + 10 / (1 + i))
    watch = Watch(fid=fid, trace=20.0, modes=10, mode_kl=0.1, coverage=0.5, parameter_norms={})
    return Evaluation(step=step, images_seen=step * 64, values={**values, "fid": fid}, watch=watch)
