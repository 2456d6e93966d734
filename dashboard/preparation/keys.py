"""What an outcome depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from dashboard.preparation.trace import StepChoice
from models.types import Case


def key_of(
    case: Case, choices: Sequence[StepChoice], model: str, weights: str, native_slice: int, reference: str
) -> str:
    """Equal exactly when the outcome must be equal."""
    steps = [[choice.step_id, choice.step.spec.resolve(choice.params)] for choice in choices if choice.on]
    facts = [case.id, case.provenance.sha256, steps, model, weights, native_slice, reference]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
