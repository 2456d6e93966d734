"""A model's own input steps as a trace: from the slice to the very tensor that the network is given."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from dashboard.preparation.pictures import SIZE, Picture, picture
from dashboard.preparation.trace import Record
from dashboard.preparation.types import Measure, Verdict
from models.card import ModelCard
from models.preprocess import prepare, stack
from models.preprocessing_words import preprocessing
from models.types import FloatArray, Geometry, Image, Window

CLIPPED_SOURCE = "own bound: with more of the picture black or white little is left to see"
SIDES_SOURCE = "own bound: shapes that are stretched more look like other shapes"


def model_records(image: Image, card: ModelCard) -> tuple[Record, ...]:
    """What the model's card asks for, step by step, done by the code that serves the model.

    Args:
        image: one slice, or a plane image.

    Raises:
        DataError: the image lacks what the model needs, or is a volume.
    """
    began = time.perf_counter()
    spec = card.input.spec
    done = prepare(image, spec)  # first, as it says what is wrong
    seconds = time.perf_counter() - began
    words = preprocessing(card.input)
    window = spec.window if spec.window is not None and image.unit == "HU" else image.windows[0]
    grey = replace(image, values=stack(image, spec), within=None).display(window)
    sized = prepare(image, replace(spec, mean=(0.0,) * spec.channels, std=(1.0,) * spec.channels)).tensor[0].numpy()
    given = done.tensor[0].numpy()
    clipped = 100 * float(((grey <= 0) | (grey >= 1)).mean())
    column, row = done.grid_to_image[0, 0] * image.plane_spacing[0], done.grid_to_image[1, 1] * image.plane_spacing[1]
    unit = "mm" if image.geometry is not None else "pixels of the image"
    shown = picture(image)
    # Channels of one grey image differ after the last step by their mean and deviation alone: one picture tells all.
    kept = 1 if all(np.allclose(sized[0], channel) for channel in sized[1:]) else len(sized)
    pictures = [
        shown,
        _planes(grey[:1], image.geometry),
        _planes(grey, image.geometry),
        _planes(sized[:kept]),
        _planes(given[:kept]),
    ]
    verdicts = [
        Verdict.of(words[0], Measure("Black or white", clipped, "%", 0.0, 95.0, CLIPPED_SOURCE)),
        Verdict.of(words[1], Measure("Channels", float(spec.channels))),
        Verdict.of(
            words[2],
            Measure("Width of an input pixel", float(column), unit),
            Measure("Width to height of an input pixel", float(column / row), "", 0.8, 1.25, SIDES_SOURCE),
        ),
        Verdict.of(
            words[3] if len(words) > 3 else "Scale: as it is.",
            Measure("Mean of the input", float(given.mean())),
            Measure("Standard deviation of the input", float(given.std())),
        ),
    ]
    titles = ("Grey values", "Channels", "Size", "Scale")
    return tuple(
        Record(
            f"model-{title.lower().replace(' ', '-')}",
            title,
            f"An input step of {card.title}, from its card.",
            {},
            verdict,
            seconds if number == 0 else 0.0,
            pictures[number],
            pictures[number + 1],
        )
        for number, (title, verdict) in enumerate(zip(titles, verdicts, strict=True))
    )


def _planes(values: FloatArray, geometry: Geometry | None = None) -> Picture:
    """(C, h, w) as pictures side by side, grey over the range of all."""
    window = Window.from_range("range", float(values.min()), float(values.max()))
    size = SIZE if len(values) == 1 else 2 * SIZE // 3
    each = [Image(channel[None], "stored value", geometry=geometry, windows=(window,)) for channel in values]
    return Picture(tuple(picture(one, window, size=size).planes[0] for one in each))
