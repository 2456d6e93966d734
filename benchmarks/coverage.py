"""How often the 95 % intervals of an audit hold the truth: made tables whose true figures follow from their make.

``python -m benchmarks.coverage`` prints, for each figure and size, the share of the tables whose interval held it.

Patients have four images each, alike in 0.7 of the variance of their log odds, and are ill in all or in none. Log odds
are normal with variance 1, their mean 1 higher in the ill; labels of slopes and of calibration errors are drawn from
given probabilities instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from scipy import integrate, stats

from dashboard.audit.bootstrap import draws, figures, presort
from dashboard.audit.calibration import by_chance, cox, outcomes
from dashboard.audit.delong import auroc_interval
from dashboard.audit.discrimination import discrimination
from dashboard.audit.logistic import sigmoid
from dashboard.audit.table import AuditTable

Array = NDArray[np.float64]
Held = Iterator[tuple[str, int, float | None, float | None, float]]  # figure, cases, interval, truth
IMAGES, ALIKE, ILL, APART = 4, 0.7, 0.4, 1.0
SLOPE = 0.7
# Labels have the log odds slope x z + offset where the score has z: calibration errors of 0, 0.035 and 0.167.
DISTORTED = ((1.0, 0.0), (0.81, 0.04), (1.0, -1.13))
BINS = np.linspace(0, 1, 16)[1:-1]


def truths() -> dict[str, float]:
    """Of scores in (0, 1) that are called from 0.5, by their normal distributions."""
    cut = np.linspace(-9, 10, 200_001)
    found, alarms = stats.norm.sf(cut - APART), stats.norm.sf(cut)
    precision = ILL * found / (ILL * found + (1 - ILL) * alarms)
    squares = [
        integrate.quad(lambda z, y=y: stats.norm.pdf(z - APART * y) * (1 / (1 + np.exp(-z)) - y) ** 2, -12, 12)[0]
        for y in (0, 1)
    ]
    sensitivity = float(stats.norm.sf(-APART))
    return {
        "auroc": float(stats.norm.cdf(APART / np.sqrt(2))),
        "auprc": float(-integrate.trapezoid(precision, found)),
        "brier": (1 - ILL) * squares[0] + ILL * squares[1],
        "sensitivity": sensitivity,
        "ppv": ILL * sensitivity / (ILL * sensitivity + (1 - ILL) * 0.5),
    }


def log_odds(rng: np.random.Generator, people: int) -> Array:
    """(people x IMAGES,) normal, mean 0 and variance 1, correlated within a patient."""
    shared = np.repeat(rng.normal(size=people), IMAGES)
    return np.asarray(np.sqrt(ALIKE) * shared + np.sqrt(1 - ALIKE) * rng.normal(size=people * IMAGES))


def made_table(z: Array, labels: NDArray[np.bool_], images: int = IMAGES) -> AuditTable:
    """One class with these log odds; patients of that many images."""
    cases = pd.DataFrame({"case_id": np.arange(len(z)).astype(str)})
    cases["patient_id"] = (np.arange(len(z)) // images).astype(str)
    scores = sigmoid(z).astype(np.float32)[:, None]
    return AuditTable("made", "binary", ("A",), cases, labels.astype(np.float32)[:, None], scores, (0.5,))


def of_ranks(rng: np.random.Generator, people: int, truth: dict[str, float], replicates: int) -> Held:
    """AUROC over patients and over cases, DeLong, and what else the same table gives."""
    labels = np.repeat(rng.random(people) < ILL, IMAGES)
    table = made_table(log_odds(rng, people) + APART * labels, labels)
    found = discrimination(table, replicates).classes[0].figures
    for name, value in truth.items():
        yield f"{name}, over patients", len(labels), found[name].low, found[name].high, value
    loose = replace(table, cases=table.cases.drop(columns="patient_id"))
    alone = discrimination(loose, replicates).classes[0].figures["auroc"]
    yield "auroc, over images of the same patients", len(labels), alone.low, alone.high, truth["auroc"]
    _, low, high, _ = auroc_interval(labels, table.scores[:, 0])
    yield "auroc, DeLong, images of the same patients", len(labels), low, high, truth["auroc"]
    labels = rng.random(people * IMAGES) < ILL
    z = rng.normal(size=len(labels)) + APART * labels
    _, low, high, _ = auroc_interval(labels, z)
    yield "auroc, DeLong, independent cases", len(labels), low, high, truth["auroc"]
    single = discrimination(made_table(z, labels, 1), replicates).classes[0].figures["auroc"]
    yield "auroc, over independent cases", len(labels), single.low, single.high, truth["auroc"]


def of_slopes(rng: np.random.Generator, people: int) -> Held:
    """The calibration slope where images of a patient have like scores."""
    z = log_odds(rng, people)
    found = cox(outcomes(made_table(z, rng.random(len(z)) < sigmoid(SLOPE * z + 0.3)), 0))["slope"]
    yield "slope, over patients", len(z), found.low, found.high, SLOPE


def scattered(rng: np.random.Generator, n: int) -> Array:
    return np.asarray(1.5 * rng.normal(size=n) - 0.7)


def calibration_error(slope: float, offset: float) -> float:
    """The true one over 15 bins, from a million scores."""
    z = scattered(np.random.default_rng(0), 1_000_000)
    gap = sigmoid(z) - sigmoid(slope * z + offset)
    return float(np.abs(np.bincount(np.searchsorted(BINS, sigmoid(z)), gap)).sum() / len(z))


def of_errors(rng: np.random.Generator, n: int, replicates: int, line: tuple[float, float], truth: float) -> Held:
    """Three intervals that might be given for an ECE, and how far chance alone takes a calibrated one."""
    z = scattered(rng, n)
    scores, labels = sigmoid(z).astype(np.float32), rng.random(n) < sigmoid(line[0] * z + line[1])
    drawn = np.concatenate(
        [np.ones((n, 1), np.uint8), draws(np.arange(n), replicates, int(rng.integers(1 << 31)))], axis=1
    )
    value, *rest = figures(presort(np.arange(n), labels, scores, labels), drawn)["ece"]
    low, high = np.quantile(rest, (0.025, 0.975))
    bias = float(np.mean(rest)) - value
    name = f"ECE of {truth:.3f}"
    yield f"{name}: percentiles (not shown)", n, low, high, truth
    yield f"{name}: moved onto the value (not shown)", n, max(0.0, low - bias), max(0.0, high - bias), truth
    centre = max(0.0, value - bias) - value - bias
    yield f"{name}: bias taken off (not shown)", n, max(0.0, low + centre), max(0.0, high + centre), truth


def chance(rng: np.random.Generator, n: int) -> tuple[float, float]:
    """The mean ECE of calibrated tables of n cases, and what the audit says of it."""
    found = []
    for _ in range(300):
        z = scattered(rng, n)
        labels = rng.random(n) < sigmoid(z)
        found.append(np.abs(np.bincount(np.searchsorted(BINS, sigmoid(z)), sigmoid(z) - labels)).sum() / n)
    score = sigmoid(scattered(rng, n))
    return float(np.mean(found)), by_chance(score, np.searchsorted(BINS, score), 15)["error"]


def main(
    tables: Annotated[int, typer.Option(help="Tables of each kind.")] = 400,
    replicates: Annotated[int, typer.Option(help="Bootstrap replicates of each.")] = 400,
    seed: Annotated[int, typer.Option(help="Of the tables.")] = 0,
) -> None:
    rng, truth = np.random.default_rng(seed), truths()
    errors = [(line, calibration_error(*line)) for line in DISTORTED]
    inside: defaultdict[tuple[str, int], list[bool]] = defaultdict(list)
    for _ in range(tables):
        for people in (50, 500):
            for source in (of_ranks(rng, people, truth, replicates), of_slopes(rng, people)):
                for name, n, low, high, value in source:
                    if low is not None and high is not None and np.isfinite(low):
                        inside[name, n].append(low <= value <= high)
        for n in (300, 2000):
            for line, error in errors:
                for name, _, low, high, value in of_errors(rng, n, replicates, line, error):
                    inside[name, n].append(low is not None and high is not None and low <= value <= high)
    print(f"share of {tables} tables whose 95 % interval held the truth; standard error {np.sqrt(0.0475 / tables):.3f}")
    for (name, n), held in sorted(inside.items()):
        print(f"{name:48}n = {n:<6}{np.mean(held):6.3f}" + (f"  of {len(held)}" if len(held) < tables else ""))
    for n in (300, 2000):
        mean, said = chance(rng, n)
        print(f"ECE by chance, n = {n}: {mean:.4f} in made tables, {said:.4f} from one table's scores")


if __name__ == "__main__":
    typer.run(main)
