"""Claims of papers, tried here: each is commands, a rule, and what was seen.

    python benchmarks/claims.py FOLDER                        # run all, hours; continues where it was stopped
    python benchmarks/claims.py FOLDER --only pacgan-ring     # one claim
    python benchmarks/claims.py FOLDER --page docs/claims.md  # run nothing; write the page from what is there

The page has a table of claims above and their commands below; what stands between its marks is written by hand and
stays. Its trials are kept in ``results/claims``, and read from there where FOLDER does not have them.

The rule is the same wherever two variants are compared. Every trial of the one is compared with every trial of the
other. *Reproduced*: the median is better, and so is the score in at least nine of ten of these pairs, on the side
that the paper claims. *The other way round*: the same on the other side, or a cure that is worse by every measure.
*Not seen*: neither. *In part*: of several parts of a claim some are reproduced. *Not testable*: the GAN that
should fail does not, or, of a claim about modes, the median trial of the variant that should cover them has less
than half of its samples in any. Of two variants that are alike, nine of ten pairs favour the claimed one by luck
in one of 20 comparisons of three trials with three, in one of 60 of five with five, and in one of six of two with
two.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ganbench.reporters.formatting import number
from ganbench.reporters.markdown import to_table

ROOT = Path(__file__).parents[1]
KEPT = ["dataset", "variant", "seed", "status", "verdict", "fid", "recovered_mass", "modes", "high_quality", "mode_kl"]
KEPT += ["authenticity"]
MARK = "<!-- findings -->"
SURE = 0.9
WORDS = {"fid": "FID", "mode_kl": "mode KL", "recovered_mass": "recovered mass", "high_quality": "high quality"}


@dataclass(frozen=True)
class Claim:
    """What a paper says, how it is tried, and how what is seen is judged.

    Attributes:
        paper: with the place of the claim in it.
        commands: words after ``ganbench``, or a script here; all write into the folder of the claim.
        judge: gets its trials, of the table ``trials.csv``, and returns what was seen and the verdict.
        note: how the trial differs from the paper's, if it does.
        tables: where in the folder of the claim its trials are, a pattern.
        curve: whether the scores on the way are kept, too.
    """

    name: str
    claim: str
    paper: str
    commands: tuple[str, ...]
    judge: Callable[[pd.DataFrame], tuple[str, str]]
    note: str = ""
    tables: str = "trials.csv"
    curve: bool = False


def settings(variants: str, **values: object) -> str:
    """``--set`` of the same values for several variants."""
    return " ".join(f"--set {name}.{key}={value}" for name in variants.split() for key, value in values.items())


def words_of(metric: str) -> str:
    return WORDS.get(metric, metric)


def shown(values: pd.Series) -> str:
    return f"{number(values.median())} ({', '.join(number(value) for value in sorted(values))})"


def trials_called(trials: pd.DataFrame, name: str) -> pd.Series:
    """Which trials are of the variant of this label, or, where there is none, of the one variant of this name."""
    labels = trials["variant"]
    return labels == name if (labels == name).any() else labels.str.split("[").str[0] == name


def scores(trials: pd.DataFrame, name: str, metric: str) -> pd.Series:
    """The scores of a variant; none before it is run."""
    return trials[trials_called(trials, name)][metric].dropna() if metric in trials else pd.Series(dtype=float)


def better(metric: str, first: str, second: str, highest: bool = False) -> Callable[[pd.DataFrame], tuple[str, str]]:
    """The claim that ``first`` scores better than ``second``, by the rule of this file."""

    def judge(trials: pd.DataFrame) -> tuple[str, str]:
        one, two = (scores(trials, name, metric) for name in (first, second))
        same = trials_called(trials, first) & trials_called(trials, second)  # one with settings, the other not run
        if one.empty or two.empty or (first != second and same.any()):
            return "", "not run"
        sign = 1.0 if highest else -1.0
        wins = np.sign(sign * np.subtract.outer(one.to_numpy(), two.to_numpy()))
        share = float((wins + 1.0).mean() / 2.0)
        seen = f"{words_of(metric)}: {first} {shown(one)}, {second} {shown(two)}; better in {share:.0%} of pairs"
        if share >= SURE:
            return seen, "reproduced"
        return seen, "the other way round" if share <= 1.0 - SURE else "not seen"

    return judge


def on(dataset: str, judge: Callable[[pd.DataFrame], tuple[str, str]]) -> Callable[[pd.DataFrame], tuple[str, str]]:
    """A claim about one dataset of several that were trained."""

    def judged(trials: pd.DataFrame) -> tuple[str, str]:
        seen, verdict = judge(trials[trials["dataset"] == dataset])
        return f"{dataset}: {seen}" if seen else "", verdict

    return judged


def both(*judges: Callable[[pd.DataFrame], tuple[str, str]]) -> Callable[[pd.DataFrame], tuple[str, str]]:
    """A claim of several parts: reproduced if all are, in part if some are."""

    def judge(trials: pd.DataFrame) -> tuple[str, str]:
        parts = [one(trials) for one in judges]
        verdicts = {verdict for _, verdict in parts}
        if "not run" in verdicts:
            return "", "not run"
        if len(verdicts) == 1:
            return "; ".join(seen for seen, _ in parts), verdicts.pop()
        seen = "; ".join(f"{seen} ({verdict})" for seen, verdict in parts)
        return seen, "in part" if "reproduced" in verdicts else "not seen"

    return judge


def cures(
    metric: str, name: str, fine: Callable[[float], bool], judge: Callable[[pd.DataFrame], tuple[str, str]]
) -> Callable[[pd.DataFrame], tuple[str, str]]:
    """A claim that something cures the failure of ``name``: not testable where the median of that one is fine."""

    def judged(trials: pd.DataFrame) -> tuple[str, str]:
        seen, verdict = judge(trials)
        if verdict in ("not run", "the other way round") or not fine(scores(trials, name, metric).median()):
            return seen, verdict
        return seen, "not testable"

    return judged


def arrives(name: str, judge: Callable[[pd.DataFrame], tuple[str, str]]) -> Callable[[pd.DataFrame], tuple[str, str]]:
    """A claim about the modes that ``name`` covers: not testable where less than half of its samples are in any."""

    def judged(trials: pd.DataFrame) -> tuple[str, str]:
        seen, verdict = judge(trials)
        share = scores(trials, name, "high_quality")
        if verdict == "not run" or share.median() >= 0.5:
            return seen, verdict
        return f"{seen}; {words_of('high_quality')}: {name} {shown(share)}", "not testable"

    return judged


def every(metric: str, name: str, holds: Callable[[pd.Series], pd.Series], words: str) -> Callable:
    """The claim that every trial of a variant satisfies a condition."""

    def judge(trials: pd.DataFrame) -> tuple[str, str]:
        values = scores(trials, name, metric)
        if values.empty:
            return "", "not run"
        fine = holds(values)
        listed = ", ".join(str(value) if isinstance(value, str) else number(value) for value in values)
        return f"{words_of(metric)}: {name} {listed} ({words})", "reproduced" if fine.all() else "not seen"

    return judge


def best_of_search(dataset: str) -> dict[str, str]:
    """Labels of the settings that were best in each variant's search on a dataset, by the validation split."""
    found = pd.read_csv(ROOT / "results" / "tuning" / "configurations.csv")
    found = found[found["dataset"] == dataset]
    sign = found["metric"].map(lambda metric: -1.0 if metric == "recovered_mass" else 1.0)
    best = found.assign(score=sign * found["score"]).sort_values("score", kind="stable").drop_duplicates("variant")
    return dict(zip(best["variant"], best["label"], strict=True))


def levelled(
    names: tuple[str, ...],
    *parts: tuple[str, str, bool],
    similar: float = 1.5,
    best: Callable[[str], dict[str, str]] = best_of_search,
) -> Callable[[pd.DataFrame], tuple[str, str]]:
    """Two claims: variants with their best settings score alike; none is better than the first on every dataset.

    A part is a dataset, its score, and whether the highest is best; ``best`` has labels of settings for each dataset;
    scores are alike if the worst median is at most ``similar`` times the best.
    """

    def judge(trials: pd.DataFrame) -> tuple[str, str]:
        seen, wins, alike = [], [], True
        for dataset, metric, highest in parts:
            of, label = trials[trials["dataset"] == dataset], best(dataset)
            medians = pd.Series({name: scores(of, label[name], metric).median() for name in names})
            if medians.isna().any():
                return "", "not run"
            factor = medians.max() / medians.min()
            alike = alike and factor <= similar
            listed = ", ".join(f"{n} {number(v)}" for n, v in medians.sort_values(ascending=not highest).items())
            seen.append(f"{dataset}: {words_of(metric)}: {listed}, a factor of {number(factor)}")
            claims = {name: better(metric, label[name], label[names[0]], highest) for name in names[1:]}
            wins.append({name for name, claim in claims.items() if claim(of)[1] == "reproduced"})
        winners = ", ".join(sorted(set.intersection(*wins))) or "none"
        claims_of = {
            f"all within a factor of {number(similar)}": alike,
            f"better than {names[0]} on {len(parts)} of {len(parts)}: {winners}": winners == "none",
        }
        seen += [f"{words} ({'reproduced' if holds else 'not seen'})" for words, holds in claims_of.items()]
        holds = claims_of.values()
        return "; ".join(seen), "reproduced" if all(holds) else "in part" if any(holds) else "not seen"

    return judge


PACGAN = dict(lr="1e-4", beta1=0.8, latent_dim=2, width=100, decay=0)
OWN = "--plugin-path benchmarks/paper_networks.py"
PLAIN = dict(lr="1e-3", beta1=0.5, decay=0.5)  # of both sides, so that they differ in one thing
METZ = dict(lr="1e-4", beta1=0.5, latent_dim=256, width=32, decay=0)
LOSSES = ("control", "minimax", "lsgan", "wgan", "wgan-gp", "dragan")
CLAIMS = [
    *(
        Claim(
            f"pacgan-{shape}",
            f"Packing covers the modes of a {shape} that the same GAN without it misses",
            f"Lin et al. 2018, PacGAN, 2D-{shape}",
            (
                f"run -p control,pacgan -d {dataset} --batch-size 100 --images 2000000 --seeds 5 "
                + settings("control pacgan", **PACGAN),
            ),
            arrives(
                "pacgan",
                cures(
                    "modes",
                    "control",
                    most.__le__,
                    both(better("modes", "pacgan", "control", True), better("mode_kl", "pacgan", "control")),
                ),
            ),
            "step size, momentum, batch and latent as in the paper; G and D have two layers of 400, packs overlap; "
            "20,000 steps, a twentieth of the paper's",
        )
        for shape, dataset, most in (("ring", "ring8", 8.0), ("grid", "grid25", 25.0))
    ),
    *(
        Claim(
            f"pacgan-{shape}-own",
            f"Packing covers the modes of a {shape} that the same GAN without it misses, with the paper's own networks",
            f"Lin et al. 2018, PacGAN, 2D-{shape}",
            (
                f"run -p pacgan-2d {OWN} -d {dataset} --batch-size 100 --images 2000000 --seeds 3 "
                "--set pacgan-2d.pack=1",
                f"run -p pacgan-2d {OWN} -d {dataset} --batch-size 200 --images 4000000 --seeds 3",
            ),
            arrives(
                "pacgan-2d",
                cures(
                    "mode_kl",
                    "pacgan-2d[pack=1]",
                    lambda kl: kl <= 0.1,
                    both(
                        better("modes", "pacgan-2d", "pacgan-2d[pack=1]", True),
                        better("mode_kl", "pacgan-2d", "pacgan-2d[pack=1]"),
                    ),
                ),
            ),
            "networks, settings and packs of the code that its authors published; 20,000 steps, a twentieth of the "
            "paper's; packed, each step sees twice the points, as there; G and D take turns, there both step at once",
        )
        for shape, dataset in (("ring", "ring8"), ("grid", "grid25"))
    ),
    Claim(
        "pacgan-stacked",
        "Packing covers more of the 1,000 modes of stacked digits",
        "Lin et al. 2018, PacGAN, stacked MNIST",
        ("run -p control,pacgan -d stacked-digits --seeds 3 " + settings("control pacgan", **PLAIN),),
        cures(
            "modes",
            "control",
            lambda modes: modes >= 995,
            both(better("modes", "pacgan", "control", True), better("mode_kl", "pacgan", "control")),
        ),
        "8x8 digits and small networks in place of MNIST and the paper's",
    ),
    *(
        Claim(
            f"unrolled-ring{suffix}",
            f"Unrolling {words} covers a ring on which the same GAN without it jumps from mode to mode",
            "Metz et al. 2017, section 3.1 and figure 2",
            (
                f"run -p unrolled,minimax,control -d ring8 --batch-size 512 --images 5120000 --seeds 2 "
                f"{settings('unrolled minimax control', **METZ)} --set unrolled.unroll_steps=5 {setting}".strip(),
            ),
            cures(
                "modes",
                "minimax",
                lambda modes: modes >= 8,
                both(
                    better("modes", "unrolled", "minimax", True),
                    better("mode_kl", "unrolled", "minimax"),
                    better("mode_kl", "unrolled", "control"),
                ),
            ),
            f"10,000 steps; {note}; G and D have the same step size, and two layers with leaky ReLU; with no steps it "
            "is minimax, and control has the non-saturating loss",
        )
        for suffix, words, setting, note in (
            ("", "five steps of D's Adam", "", "of the notebook that its authors published only the number of steps"),
            (
                "-gradient",
                "five gradient steps",
                "--set unrolled.unroll=gradient --set unrolled.unroll_lr=0.03",
                "as in the paper's equations",
            ),
        )
    ),
    Claim(
        "unrolled-notebook",
        "Unrolling five steps covers a ring on which the same GAN without it jumps from mode to mode, with the "
        "networks and step sizes that its authors published",
        "Metz et al. 2017, section 3.1 and figure 2",
        (
            f"run -p unrolled-2d {OWN} -d ring8 --batch-size 512 --images 12800000 --seeds 2 "
            "--set unrolled-2d.unroll_steps=0",
            f"run -p unrolled-2d {OWN} -d ring8 --batch-size 512 --images 12800000 --seeds 2",
            f"run -p unrolled-2d {OWN} -d ring8 --batch-size 512 --images 12800000 --seeds 1 "
            "--set unrolled-2d.unroll_steps=0 --set unrolled-2d.updates=simultaneous",
        ),
        cures(
            "recovered_mass",
            "unrolled-2d[unroll_steps=0]",
            lambda mass: mass >= 0.5,
            better("recovered_mass", "unrolled-2d", "unrolled-2d[unroll_steps=0]", True),
        ),
        "25,000 steps and all settings as in their notebook, but G and D take turns; a further training, which is not "
        "compared, steps both at once",
        curve=True,
    ),
    Claim(
        "dirac",
        "Without a penalty the Dirac-GAN does not converge; with a zero-centred gradient penalty it does",
        "Mescheder et al. 2018, sections 2 and 3",
        (
            "run -p planted-dirac -d ring8 --seeds 5",
            "run -p planted-dirac -d ring8 --seeds 5 --set planted-dirac.gamma=1",
        ),
        both(
            every("verdict", "planted-dirac", lambda word: word != "stable", "none is stable"),
            every("verdict", "planted-dirac[gamma=1.0]", lambda word: word == "stable", "all are"),
        ),
        "batches of points around the origin in place of one point there; of the penalties R1, at real points; the "
        "paper's other finding, that WGAN-GP's does not converge, was not tried",
    ),
    Claim(
        "minibatch",
        "Minibatch discrimination keeps G from collapsing",
        "Salimans et al. 2016, section 3.2",
        ("run -p minibatch,control -d ring8,digits --seeds 5 " + settings("minibatch control", **PLAIN),),
        both(
            on("ring8", cures("modes", "control", lambda modes: modes >= 8, better("mode_kl", "minibatch", "control"))),
            on("digits", cures("mode_kl", "control", lambda kl: kl <= 0.1, better("mode_kl", "minibatch", "control"))),
        ),
    ),
    Claim(
        "minibatch-failing",
        "Minibatch discrimination keeps G from collapsing where the same GAN without it does",
        "Salimans et al. 2016, section 3.2",
        (
            "run -p minibatch,control -d ring8 --batch-size 100 --images 2000000 --seeds 3 "
            + settings("minibatch control", **PACGAN),
        ),
        arrives(
            "minibatch",
            cures("modes", "control", lambda modes: modes >= 8, better("modes", "minibatch", "control", True)),
        ),
        "the settings with which control shows next to nothing of the ring in pacgan-ring",
    ),
    Claim(
        "wgan-gp",
        "A gradient penalty ends better than clipped weights",
        "Gulrajani et al. 2017, sections 3 and 5",
        ("run -p wgan-gp,wgan -d digits --seeds 5", "run -p wgan-gp,wgan -d ring8 --seeds 5"),
        both(
            on("digits", better("fid", "wgan-gp", "wgan")),
            on("ring8", better("recovered_mass", "wgan-gp", "wgan", True)),
        ),
        "what the search chose for each, and two steps of D for one of G, where the papers take five",
    ),
    Claim(
        "r3gan",
        "A relativistic loss with penalties at real and generated samples covers all 1,000 modes, others do not",
        "Huang et al. 2024, StackedMNIST",
        (
            "run -p r3gan -d stacked-digits --images 1280000 --evaluations 10 --seeds 1 "
            + settings("r3gan", width=32, lr="3e-3", gamma=10, ema_decay=0.999, schedule="constant"),
            "run -p control,r1 -d stacked-digits --images 128000 --seeds 1",
        ),
        both(
            every("modes", "r3gan", lambda modes: modes >= 1000, "of 1,000"),
            *(
                cures("modes", name, lambda modes: modes >= 1000, better("modes", "r3gan", name, True))
                for name in ("control", "r1")
            ),
        ),
        "8x8 digits, and a network of 32 channels; settings chosen by hand on the same split; the other two losses "
        "with a tenth of its budget",
        curve=True,
    ),
    Claim(
        "ada",
        "Adaptive augmentation lowers FID on few training images",
        "Karras et al. 2020, Training Generative Adversarial Networks with Limited Data",
        (
            "run -p r1 -d digits --images 640000 --seeds 5",
            "run -p r1 -d digits --images 640000 --seeds 5 --set r1.augment=ada",
        ),
        better("fid", "r1[augment=ada]", "r1"),
        "897 images of 8x8 pixels",
    ),
    Claim(
        "level",
        "With the same search for each, most losses reach similar scores, and none is better than the standard one on "
        "every dataset",
        "Lucic et al. 2018, abstract and section 6",
        (f"python benchmarks/search.py {' '.join(f'-p {name}' for name in LOSSES)}",),
        levelled(LOSSES, ("digits", "fid", False), ("ring8", "recovered_mass", True)),
        "two datasets, where the paper has four; the setting that was best in the search on each, on three fresh seeds",
        "*/final/trials.csv",
    ),
    Claim(
        "memorizer",
        "FID does not tell copies of the training images from new ones; authenticity does",
        "Alaa et al. 2022; Meehan et al. 2020",
        ("run -p memorizer,dcgan -d digits --seeds 5 " + settings("dcgan", lr="1e-3", beta1=0.5),),
        both(better("fid", "memorizer", "dcgan"), better("authenticity", "dcgan", "memorizer", True)),
    ),
]


def folder_of(root: Path, claim: Claim) -> Path:
    return root / claim.name


def run(root: Path, claim: Claim) -> None:
    folder = str(folder_of(root, claim).absolute())
    for words in claim.commands:
        print(shown_command(words), flush=True)
        if words.startswith("python "):
            _, script, *rest = shlex.split(words)
            command = [sys.executable, str(ROOT / script), folder, *rest]
        else:
            command = [sys.executable, "-m", "ganbench", *shlex.split(words), "--results", folder]
        subprocess.run(command, check=False, cwd=ROOT)


def shown_command(words: str) -> str:
    """As a reader can type it; ``FOLDER`` is where a script writes."""
    return words.replace(".py ", ".py FOLDER ") if words.startswith("python ") else f"ganbench {words}"


def trials_of(root: Path, claim: Claim, kept: Path) -> pd.DataFrame | None:
    """The trials of a claim, which are then kept, or those that were; None without any."""
    file = kept / f"{claim.name}.csv"
    if found := [pd.read_csv(table) for table in sorted(folder_of(root, claim).glob(claim.tables))]:
        trials = pd.concat(found, ignore_index=True)
        kept.mkdir(parents=True, exist_ok=True)
        trials[[name for name in KEPT if name in trials]].dropna(axis=1, how="all").to_csv(file, index=False)
        if claim.curve:
            curves_of(folder_of(root, claim)).to_csv(kept / f"{claim.name}-curves.csv", index=False)
    return pd.read_csv(file) if file.exists() else None


def curves_of(folder: Path) -> pd.DataFrame:
    """How the modes of each trial changed: its ``history.csv``, of several trials one after the other."""
    frames = []
    for path in sorted(folder.glob("*/*/*/history.csv")):
        own = pd.read_csv(path)
        names = [name for name in ("images_seen", "modes", "mode_kl", "recovered_mass", "fid") if name in own]
        trial = json.loads((path.parent / "record.json").read_text())["identity"]["trial"]
        settings_of = json.dumps(trial["hyperparameters"], sort_keys=True)
        frames.append(own[names].assign(variant=trial["variant"], seed=trial["seed"], hyperparameters=settings_of))
    return pd.concat(frames, ignore_index=True)


def page(root: Path, kept: Path, findings: str = "") -> str:
    rows, commands = [], []
    for claim in CLAIMS:
        trials = trials_of(root, claim, kept)
        seen, verdict = claim.judge(trials) if trials is not None else ("", "not run")
        noted = f"{claim.claim} ({claim.note})" if claim.note else claim.claim
        rows.append([claim.name, noted, claim.paper, seen, verdict])
        commands += [f"`{claim.name}`:", "", *(f"    {shown_command(words)}" for words in claim.commands), ""]
    head = ["name", "claim", "paper", "seen", "verdict"]
    return "\n".join(
        [
            *("# Claims of papers, tried here", "", RULE, "", to_table(head, rows)),
            *(MARK, "", findings, "", MARK, "", "## Commands", "", *commands),
        ]
    )


RULE = __doc__.split("\n\n")[3].strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="results folders of the claims, one each")
    parser.add_argument("--only", choices=[claim.name for claim in CLAIMS], action="append")
    parser.add_argument("--page", type=Path, help="write this page of what is there, and run nothing")
    options = parser.parse_args()
    if options.page:
        _, findings, _ = options.page.read_text().split(MARK) if options.page.exists() else ("", "", "")
        options.page.write_text(page(options.folder, ROOT / "results" / "claims", findings.strip()))
        return
    for claim in CLAIMS:
        if options.only is None or claim.name in options.only:
            run(options.folder, claim)


if __name__ == "__main__":
    main()
