"""Explanations on disk."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from dashboard.jobs.folder import ResultFolder
from dashboard.serving.types import Explanation
from explainers.types import Attribution
from models.types import Target


class ResultStore(ResultFolder[Explanation]):
    """See :class:`dashboard.jobs.folder.ResultFolder`."""

    def pack(self, result: Explanation) -> dict[str, Any]:
        attribution = result.attribution
        facts = {
            name: getattr(attribution, name)
            for name in ("method", "title", "signed", "unit", "seed", "runtime_s", "completeness_error")
        }
        facts["params"], facts["facts"] = dict(attribution.params), dict(attribution.facts)
        facts["target"] = asdict(attribution.target)
        facts["image_shape"], facts["provenance"] = result.image_shape, dict(result.provenance)
        arrays: dict[str, Any] = {
            "values": attribution.values,
            "grid_to_image": result.grid_to_image,
            "facts": np.array(json.dumps(facts)),
        }
        if attribution.native is not None:
            arrays["native"] = attribution.native
        return arrays

    def unpack(self, arrays: dict[str, Any]) -> Explanation:
        facts = json.loads(str(arrays["facts"]))
        provenance, shape = facts.pop("provenance"), facts.pop("image_shape")
        target = Target(**facts.pop("target"))
        attribution = Attribution(target=target, values=arrays["values"], native=arrays.get("native"), **facts)
        return Explanation(attribution, arrays["grid_to_image"], (shape[0], shape[1]), provenance)
