"""False alarms of the stability verdict in a results folder, by the calibration's own rule of what is healthy."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from judge import Trial, healthy
from report import markdown, share
from settings import Setting

from ganbench.analysis.stability import UNSTABLE, verdict
from ganbench.results.store import read_records


def alarms(folder: Path) -> str:
    """A table of each variant on each dataset: healthy trials, those of them called unstable, and as what."""
    rows: dict[tuple[str, str], list[Trial]] = {}
    for record in read_records(folder).records:
        trial = record.identity.trial
        if record.role == "variant" and record.primary in record.metrics:
            setting = Setting("learns", record.label, trial.dataset, trial.budget_images)
            rows.setdefault((trial.dataset, record.label), []).append(Trial(setting, record))
    lines, counts = [], Counter()
    for (dataset, label), trials in sorted(rows.items()):
        scores = [trial.score for trial in trials if trial.score is not None]
        good = [trial for trial in trials if scores and healthy(trial, float(np.median(scores)))]
        words = Counter(verdict(trial.record).word for trial in good)
        wrong = {word: n for word, n in words.items() if word in UNSTABLE}
        counts[dataset, "healthy"] += len(good)
        counts[dataset, "wrong"] += sum(wrong.values())
        if wrong:
            told = ", ".join(f"{n} {word}" for word, n in sorted(wrong.items()))
            lines.append([dataset, label, len(good), sum(wrong.values()), told])
    datasets = sorted({dataset for dataset, _ in counts})
    totals = [[name, share(counts[name, "wrong"], counts[name, "healthy"])] for name in datasets]
    whole = [sum(counts[name, what] for name in datasets) for what in ("wrong", "healthy")]
    totals.append(["all", share(*whole)])
    text = markdown(["dataset", "healthy trials called unstable"], totals)
    head = ["dataset", "variant", "healthy", "called unstable", "as"]
    return text + (f"\n{markdown(head, lines)}" if lines else "")
