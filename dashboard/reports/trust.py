"""Trust checks as data: every verdict with its number, interval, question, limits and source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from explainers.quality.strip import spec_of, summary
from explainers.quality.types import Verdict


def verdict_record(verdict: Verdict) -> dict[str, Any]:
    """One check of one map; curves as lists, maps left out."""
    spec = spec_of(verdict)
    return {
        "check": verdict.check,
        "title": spec.title,
        "question": spec.question,
        "level": verdict.level,
        "measure": spec.measure,
        "unit": spec.unit,
        "value": verdict.value,
        "low": verdict.low,
        "high": verdict.high,
        "n": verdict.n,
        "expected": verdict.expected,
        "sentence": verdict.sentence,
        "paper": spec.paper,
        "facts": dict(verdict.facts),
        "curves": {name: [round(float(value), 6) for value in values] for name, values in verdict.curves.items()},
    }


def map_record(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """All checks of one map, the worst level first."""
    found = summary(verdicts)
    return {
        "level": found.level,
        "summary": found.sentence,
        "complete": found.final,
        "checks": [verdict_record(one) for one in verdicts],
    }
