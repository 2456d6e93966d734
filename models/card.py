"""The model card (``card.toml``): what a network is, wants, promises and must not be used for."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from models.errors import ModelError
from models.preprocess import Fit, InputSpec
from models.types import FloatArray, Modality, Target, Window

CARD_FILE = "card.toml"
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Kebab = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]

# What a text must look like, by field.
_FORMS = {
    "id": "lower-case words joined by hyphens, like 'chest-xray-14'",
    "architecture": "timm:NAME, torchvision:NAME, xrv:NAME or unet:NAME",
    "sha256": "64 hexadecimal digits",
    "file": "the plain name of a file beside the card",
    "history": "the plain name of a file beside the card",
}


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WindowTable(_Table):
    center: float
    width: Annotated[float, Field(gt=0)]


class InputTable(_Table):
    height: Annotated[int, Field(ge=16, le=4096)]
    width: Annotated[int, Field(ge=16, le=4096)]
    channels: Literal[1, 3] = 3
    fit: Fit = "letterbox"
    modality: Annotated[tuple[Modality, ...], Field(min_length=1)]
    window: WindowTable | None = None
    spacing_mm: Annotated[float, Field(gt=0)] | None = None
    slices: Literal[1, 3] = 1
    slice_step_mm: Annotated[float, Field(gt=0)] = 2.5
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[Annotated[float, Field(gt=0)], ...] = (1.0, 1.0, 1.0)

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        if len(self.mean) < self.channels or len(self.std) < self.channels:
            raise ValueError(f"mean and std need one value for each of the {self.channels} channels")
        if (self.fit == "spacing") != (self.spacing_mm is not None):
            raise ValueError("spacing_mm goes with fit = 'spacing', and with no other")
        if self.slices > 1 and self.slices != self.channels:
            raise ValueError(f"a network of {self.slices} neighbouring slices needs {self.slices} channels")
        return self

    @property
    def spec(self) -> InputSpec:
        window = Window("the model's", self.window.center, self.window.width) if self.window else None
        return InputSpec(
            self.height,
            self.width,
            self.channels,
            self.fit,
            window,
            self.mean,
            self.std,
            self.spacing_mm,
            self.slices,
            self.slice_step_mm,
        )


class FileTable(_Table):
    """A file beside the card, pinned by its digest."""

    file: FileName
    sha256: Sha256


class ThresholdTable(_Table):
    values: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    default: Annotated[float, Field(ge=0, le=1)] = 0.5
    source: str = "default of 0.5, not chosen on data"


PerClass = float | tuple[float, ...]  # one number for all classes, or one for each


class CalibrationTable(_Table):
    """Probability = activation(scale * logit + offset)."""

    method: Literal["none", "temperature", "platt", "platt-per-class", "vector"] = "none"
    scale: PerClass = 1.0
    offset: PerClass = 0.0
    source: str = ""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if np.min(self.scale) <= 0:
            raise ValueError("scale must be greater than 0: a calibration must not turn the order of the scores")
        return self


class Measure(_Table):
    """One measured figure with its 95 % interval; of one class (``subject``) or one ``subgroup`` where named.

    Attributes:
        value: None where there were too few cases to say anything.
    """

    metric: str
    subject: str = ""
    subgroup: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int
    split: str
    note: str = ""


class TrainingTable(_Table):
    """How the weights came about; ``history`` is a CSV of one line an epoch beside the card."""

    data: str
    licence: str
    recipe: str = ""
    notes: str = ""
    loss: str = ""
    loss_note: str = ""
    epochs: int = 0
    seed: int = 0
    minutes: float = 0.0
    machine: str = ""
    history: FileName | None = None


class LossTrial(_Table):
    """What a loss reached on the validation part after the same short training."""

    loss: str
    metric: str
    value: float
    epochs: int


class Robustness(_Table):
    """The main metric when every one of ``n`` test images is corrupted, at strengths 1 (mild) to 3.

    The corruption "none" of strength 0 is the same images as they are.
    """

    corruption: str
    strength: Annotated[int, Field(ge=0, le=3)]
    metric: str
    value: float
    n: int = 0


class UnusualTable(_Table):
    """How well the feature distance tells strange images from the model's own test images.

    Attributes:
        kept: share of own validation images below the warning threshold.
        auroc: by kind of strange image ("other modality", "corrupted ...").
        n: strange images of each kind.
    """

    kept: float
    auroc: dict[str, float] = {}
    n: dict[str, int] = {}


class Published(_Table):
    """A figure from the literature, and why it is or is not like for like."""

    name: str
    metric: str
    value: float
    source: str
    comparable: str


class ModelCard(_Table):
    """A validated card; ``folder`` is where it was read from."""

    id: Kebab
    title: str
    version: str = "1"
    architecture: Annotated[str, StringConstraints(pattern=r"^(timm|torchvision|xrv|unet):[A-Za-z0-9_.]+$")]
    architecture_args: dict[str, Any] = {}
    task: Literal["multiclass", "multilabel", "binary", "segmentation"]
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    input: InputTable
    weights: FileTable
    target_layers: tuple[str, ...] = ()
    thresholds: ThresholdTable = ThresholdTable()
    calibration: CalibrationTable = CalibrationTable()
    novelty: FileTable | None = None
    training: TrainingTable
    performance: tuple[Measure, ...] = ()
    losses: tuple[LossTrial, ...] = ()
    robustness: tuple[Robustness, ...] = ()
    unusual: UnusualTable | None = None
    published: tuple[Published, ...] = ()
    licence: str
    intended_use: str
    not_for: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    folder: Path = Path()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes holds a name twice")
        if self.task == "multiclass" and len(self.classes) < 2:
            raise ValueError("a multiclass model needs at least two classes")
        if self.task == "binary" and len(self.classes) != 1:
            raise ValueError("a binary model names one class, the positive one")
        if (self.task == "segmentation") != self.architecture.startswith("unet:"):
            raise ValueError("task segmentation goes with a unet: architecture, and with no other")
        for table in (self.calibration.scale, self.calibration.offset):
            if isinstance(table, tuple) and len(table) != len(self.classes):
                raise ValueError(f"calibration lists {len(table)} numbers for {len(self.classes)} classes")
        unknown = sorted(set(self.thresholds.values) - set(self.classes))
        if unknown:
            raise ValueError(f"thresholds.values names {unknown[0]!r}, which is not in classes")
        return self

    @property
    def exclusive(self) -> bool:
        """True where exactly one class holds (softmax)."""
        return self.task == "multiclass"

    @property
    def activation(self) -> Literal["softmax", "sigmoid"]:
        return "softmax" if self.exclusive else "sigmoid"

    @property
    def threshold_array(self) -> FloatArray:
        """(K,) float32 operating points in the order of the classes."""
        chosen = [self.thresholds.values.get(name, self.thresholds.default) for name in self.classes]
        return np.asarray(chosen, dtype=np.float32)

    @property
    def input_digest(self) -> str:
        """Changes with anything that changes what the network is shown."""
        text = json.dumps(self.input.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def target(
        self, name: str, output: Literal["logit", "probability", "contrast"] = "logit", against: str = ""
    ) -> Target:
        """The output for a class named as in the card, in any letter case. Raises ModelError."""
        index = self._index(name)
        other = self._index(against) if output == "contrast" else None
        if other == index:
            raise ModelError(f"A contrast needs two different classes, got {name!r} twice.")
        label = self.classes[other] if other is not None else ""
        return Target(self.classes[index], index, output, self.activation, label, other)

    def _index(self, name: str) -> int:
        wanted = _plain(name)
        for index, own in enumerate(self.classes):
            if _plain(own) == wanted:
                return index
        raise ModelError(f"Model {self.id} has no class {name!r}; it has {', '.join(self.classes)}.")

    def probabilities(self, logits: FloatArray) -> FloatArray:
        """(..., K) float32 logits to calibrated probabilities of the same shape."""
        scaled = logits.astype(np.float64) * np.asarray(self.calibration.scale) + np.asarray(self.calibration.offset)
        if self.exclusive:
            scaled -= scaled.max(axis=-1, keepdims=True)
            powers = np.exp(scaled)
            return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
        return (1.0 / (1.0 + np.exp(-scaled))).astype(np.float32)


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ").strip()


def read_card(folder: Path) -> ModelCard:
    """The card in ``folder``. Raises ModelError naming the field and what was expected."""
    path = folder / CARD_FILE
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"The model folder {folder.name!r} has no {CARD_FILE}; see docs/model-cards.md for its fields."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{folder.name}/{CARD_FILE} is not valid TOML: {error}.") from None
    data.pop("folder", None)
    try:
        return ModelCard(**data, folder=folder)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "card"
        reason = first["msg"].removeprefix("Value error, ")
        if first["type"] == "string_pattern_mismatch":
            reason = f"expected {_FORMS[str(first['loc'][-1])]}, got {first['input']!r}"
        raise ModelError(f"{folder.name}/{CARD_FILE}, field {field}: {reason}.") from None
    except TypeError as error:
        raise ModelError(f"{folder.name}/{CARD_FILE} cannot be read: {error}.") from None


def find_cards(folders: Sequence[Path]) -> tuple[dict[str, ModelCard], dict[str, str]]:
    """Cards by id, and for folders whose card is wrong their name and the sentence why."""
    cards: dict[str, ModelCard] = {}
    wrong: dict[str, str] = {}
    for root in folders:
        members = (
            [root]
            if (root / CARD_FILE).is_file()
            else sorted(p for p in root.iterdir() if p.is_dir())
            if root.is_dir()
            else []
        )
        for folder in members:
            if not (folder / CARD_FILE).is_file():
                continue
            try:
                card = read_card(folder)
                if card.id in cards:
                    raise ModelError(f"Card field id: {card.id!r} is taken by another model folder.")
                cards[card.id] = card
            except ModelError as error:
                wrong[folder.name] = str(error)
    return cards, wrong
