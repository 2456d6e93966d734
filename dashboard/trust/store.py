"""Verdicts on disk: those of one map that rest on passes of the network, and on nothing but map, picture and network."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from dashboard.jobs.folder import ResultFolder
from explainers.quality.types import Verdict

_PLAIN = ("check", "level", "sentence", "value", "low", "high", "n", "expected", "final")


class VerdictStore(ResultFolder[tuple[Verdict, ...]]):
    """See :class:`dashboard.jobs.folder.ResultFolder`."""

    def pack(self, result: tuple[Verdict, ...]) -> dict[str, Any]:
        facts = [{name: getattr(one, name) for name in _PLAIN} | {"facts": dict(one.facts)} for one in result]
        arrays: dict[str, Any] = {"verdicts": np.array(json.dumps(facts))}
        for number, one in enumerate(result):
            for kind in ("curves", "maps"):
                arrays |= {f"{number}/{kind}/{name}": values for name, values in getattr(one, kind).items()}
        return arrays

    def unpack(self, arrays: dict[str, Any]) -> tuple[Verdict, ...]:
        found = []
        for number, facts in enumerate(json.loads(str(arrays["verdicts"]))):
            held: dict[str, dict[str, Any]] = {"curves": {}, "maps": {}}
            for place, values in arrays.items():
                owner, _, rest = place.partition("/")
                kind, _, name = rest.partition("/")
                if owner == str(number) and kind in held:
                    held[kind][name] = values
            found.append(Verdict(**facts, curves=held["curves"], maps=held["maps"]))
        return tuple(found)
