"""Intensity normalisation in three kinds.

MR has no unit: the same tissue is 400 on one scanner and 900 on the next. Nyul's matching of histograms (Nyul and Udupa,
Magn Reson Med 1999) is not offered: its landmarks must be learnt from many scans of one kind, and a single image holds no
honest reference for them. White stripe takes its reference from the image's own white matter.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dashboard.preparation.tissue import foreground
from dashboard.preparation.types import (
    STEPS,
    BoolArray,
    Measure,
    State,
    StepResult,
    StepSpec,
    Verdict,
    voxels,
    with_values,
)
from explainers.types import Param, ParamValue
from models.errors import DataError
from models.types import FloatArray, Image

_BINS = 2000
_SMOOTH = 0.02  # width of the histogram's smoothing, of its range
_RARE = 0.2  # peaks lower than this share of the highest do not count
EXACT = "by construction"
STRIPE_SOURCE = "a stripe of 10 % around a true peak is narrow: own bound"


class ZScore:
    spec = StepSpec(
        id="z-score",
        title="Intensity: z-score",
        purpose="Subtracts the mean and divides by the standard deviation, so that scans of different scanners compare.",
        order=30,
    )

    def applies(self, image: Image) -> str | None:
        return _grey_only(image)

    def run(self, image: Image, params: Mapping[str, ParamValue], state: State) -> StepResult:
        """Mean 0 and standard deviation 1 in the mask; the rest follows the same line."""
        values = voxels(image)
        mask = _where(values, state)
        mean, deviation = _moments(values[mask])
        scaled = ((values - mean) / deviation).astype(np.float32)
        inside = scaled[mask].astype(np.float64)
        return StepResult(
            with_values(image, scaled, rescaled=True),
            Verdict.of(
                f"Values of mean {mean:.4g} and standard deviation {deviation:.4g} now have 0 and 1 {_said(state)}.",
                Measure("Mean", float(inside.mean()), "", -0.01, 0.01, EXACT),
                Measure("Standard deviation", float(inside.std()), "", 0.99, 1.01, EXACT),
            ),
            rescaled=True,
        )


class WhiteStripe:
    spec = StepSpec(
        id="white-stripe",
        title="Intensity: white stripe",
        purpose="Takes the white matter's peak of the histogram as the reference, so that disease elsewhere does not shift it.",
        params=(
            Param(
                "weighting",
                "Contrast of the scan",
                "choice",
                "T1",
                "In T1 white matter is the brightest peak, in T2 and FLAIR the highest.",
                choices=("T1", "T2"),
            ),
            Param("width", "Half width of the stripe", "float", 5.0, "On either side of the peak.", 1, 20, 1, unit="%"),
        ),
        order=31,
        paper="Shinohara et al., NeuroImage Clin 2014, 6:9-19",
    )

    def applies(self, image: Image) -> str | None:
        return _grey_only(image)

    def run(self, image: Image, params: Mapping[str, ParamValue], state: State) -> StepResult:
        """Mean and standard deviation of the stripe become 0 and 1.

        Differs from the paper: the histogram is smoothed by a Gaussian of 2 % of its range instead of a spline.
        """
        values = voxels(image)
        brain = values[_where(values, state)].astype(np.float64)
        peak = white_peak(brain, brightest=params["weighting"] == "T1")
        place = float((brain < peak).mean() + (brain <= peak).mean()) / 2
        width = float(params["width"]) / 100
        low, high = np.quantile(brain, (max(0.0, place - width), min(1.0, place + width)))
        stripe = brain[(brain >= low) & (brain <= high)]
        mean, deviation = _moments(stripe)
        scaled = ((values - mean) / deviation).astype(np.float32)
        share = float(stripe.std() / abs(mean) * 100) if mean else 0.0
        return StepResult(
            with_values(image, scaled, rescaled=True),
            Verdict.of(
                f"White matter lies at {mean:.4g} with a standard deviation of {deviation:.3g}; it is 0 and 1 now.",
                Measure("Width of the stripe, of its brightness", share, "%", 0.0, 10.0, STRIPE_SOURCE),
                Measure("Brain darker than the stripe's peak", 100 * place, "%"),
            ),
            rescaled=True,
        )


class Percentile:
    spec = StepSpec(
        id="percentile",
        title="Intensity: percentile",
        purpose="Stretches the range between two percentiles to 0 to 1 and cuts what lies outside; simple, but swayed by large lesions.",
        params=(
            Param("low", "Lower percentile", "float", 1.0, "", 0, 20, 0.5, unit="%"),
            Param("high", "Upper percentile", "float", 99.0, "", 80, 100, 0.5, unit="%"),
        ),
        order=32,
    )

    def applies(self, image: Image) -> str | None:
        return _grey_only(image)

    def run(self, image: Image, params: Mapping[str, ParamValue], state: State) -> StepResult:
        """Percentiles of the mask onto 0 and 1, clipped."""
        values = voxels(image)
        inside = values[_where(values, state)]
        low, high = (float(bound) for bound in np.percentile(inside, (float(params["low"]), float(params["high"]))))
        if high <= low:
            raise DataError("The two percentiles have the same value; choose them further apart.")
        scaled = np.clip((values - low) / (high - low), 0.0, 1.0).astype(np.float32)
        cut = 100 * float(((inside < low) | (inside > high)).mean())
        allowed = float(params["low"]) + 100 - float(params["high"])
        return StepResult(
            with_values(image, scaled, rescaled=True),
            Verdict.of(
                f"{low:.4g} to {high:.4g} became 0 to 1 {_said(state)}.",
                Measure("Share cut off at either end", cut, "%", 0.0, allowed + 0.5, "as asked for"),
            ),
            rescaled=True,
        )


def white_peak(values: NDArray[np.float64], brightest: bool) -> float:
    """Where the histogram of a brain peaks for white matter.

    Args:
        values: (n,) of the brain.
        brightest: the peak of the brightest tissue (T1) rather than the highest one (T2).
    """
    low, high = np.quantile(values, (0.001, 0.999))
    if high <= low:
        raise DataError("The brain has the same value everywhere; there is no peak of white matter.")
    counts, edges = np.histogram(values, _BINS, (low, high))
    smooth = ndimage.gaussian_filter1d(counts.astype(float), _SMOOTH * _BINS, mode="constant")
    rises = np.diff(smooth) > 0
    peaks = np.flatnonzero(rises[:-1] & ~rises[1:]) + 1
    peaks = peaks[smooth[peaks] >= _RARE * smooth.max()]
    if not len(peaks):
        raise DataError("The histogram of the brain has no peak; strip the skull first.")
    chosen = peaks[-1] if brightest else peaks[np.argmax(smooth[peaks])]
    return float((edges[chosen] + edges[chosen + 1]) / 2)


def _where(values: FloatArray, state: State) -> BoolArray:
    return foreground(values) if state.mask is None or not state.mask.any() else state.mask


def _said(state: State) -> str:
    return "in the head" if state.mask is None else "in the mask"


def _moments(values: NDArray[np.floating]) -> tuple[float, float]:
    """Mean and standard deviation. Raises DataError where all values are equal."""
    mean, deviation = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    if deviation <= 0:
        raise DataError("All values are equal there; there is nothing to normalise.")
    return mean, deviation


def _grey_only(image: Image) -> str | None:
    if image.is_colour:
        return "The image is in colour; this step works on the grey values of a scan."
    if image.unit == "HU":
        return "CT values have a unit (HU) that scanners agree on; choose a window instead."
    return None


STEPS.register("z-score", ZScore())
STEPS.register("white-stripe", WhiteStripe())
STEPS.register("percentile", Percentile())
