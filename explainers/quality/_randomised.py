"""What randomisation found of the methods on one network, and how it is stored beside the card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from explainers.quality._bootstrap import Estimate
from explainers.quality._similarity import View
from explainers.quality.types import Level, Rule
from explainers.types import ParamValue
from models.card import ModelCard

FILE = "evaluation/randomisation.json"
UPPER = 0.3  # share of the stages that counts as the upper third: 3 of 10, 3 of 7
SAME = 0.9  # similarity from which on two maps look the same
RULE = Rule(
    0.0,
    0.0,
    "Arun et al. 2021 (doi:10.1148/ryai.2021200267), figure 3: passed when the similarity at full randomisation is below"
    " that of 50 random pairs of maps; here with the 95 % interval of the difference. Fails also where the map looks the same"
    " (similarity 0.9) with the upper third of the network random: there guided backpropagation stays at 0.96 to 0.98 on the"
    " five shipped classifiers (20 test images each)",
)


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StageSimilarity(_Table):
    """How alike the maps still are with some weights drawn anew.

    Attributes:
        stage: the last stage drawn anew ("blocks.3").
        mode: "cascading", with all stages above it, or "independent", alone.
        depth: share of the stages drawn anew.
        ssim, rank: structural similarity and Spearman correlation with the true map, by view ("absolute", "signed").
    """

    stage: str
    mode: Literal["cascading", "independent"]
    depth: float
    ssim: dict[View, Estimate]
    rank: dict[View, Estimate]


class RandomisationResult(_Table):
    """One method on one network.

    Attributes:
        params: of the method.
        pairs: structural similarity of 50 random pairs of true maps of different images, by view.
        margin: ``pairs`` minus the similarity at full randomisation, of absolute maps; above 0 passes.
        similarities: in the order of the cascade, then the stages alone.
    """

    method: str
    params: dict[str, ParamValue]
    pairs: dict[View, Estimate]
    margin: Estimate
    similarities: tuple[StageSimilarity, ...]

    @property
    def level(self) -> Level:
        if self.margin.mean is None or self.margin.low is None:
            return "not assessable"
        if looks_same(self.upper_third):
            return "fails"
        found = RULE.level(self.margin.mean, self.margin.low, self.margin.high)
        return "weak" if found == "ok" and looks_same(self.cascade[0]) else found

    @property
    def upper_third(self) -> StageSimilarity:
        """The first of the cascade with the upper third of the stages drawn anew."""
        return next(one for one in self.cascade if one.depth >= UPPER)

    @property
    def cascade(self) -> tuple[StageSimilarity, ...]:
        return tuple(one for one in self.similarities if one.mode == "cascading")


class StoredRandomisation(_Table):
    """The file beside the card."""

    model: str
    weights_sha256: str
    images: int
    source: str
    copies: int
    seed: int
    methods: dict[str, RandomisationResult]


def looks_same(stage: StageSimilarity) -> bool:
    """Whether nobody would tell the maps apart."""
    mean = stage.ssim["absolute"].mean
    return mean is not None and mean >= SAME


def stored(card: ModelCard) -> Mapping[str, RandomisationResult]:
    """What is stored with a model, by method; empty where nothing is, or where it was measured on other weights."""
    path = card.folder / FILE
    try:
        found = StoredRandomisation(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError, ValidationError, TypeError):
        return {}
    return found.methods if found.weights_sha256 == card.weights.sha256 else {}
