"""Whether what was found can be the lungs of an adult, and whether the scan holds all of them.

The bounds are this project's own, wide enough that only what cannot be lungs is refused. Below: what stays in the lungs
of a small adult after breathing out, about 1 l. Above: the total capacity of a tall man by the European equation
(7.99 h - 7.08 l with h in m: 8.9 l at 2.00 m, just beyond the heights it was made for; Quanjer et al., Eur Respir J 1993,
6 Suppl 16:5-40), about 1 l for those above the mean, and up to 1 l of tissue and blood, which a CT counts too. Each lung
has between a sixth and five sixths of both; a healthy right lung has a little more than half.
"""

from __future__ import annotations

import numpy as np

from dashboard.quantify.grid import BoolArray, voxel_ml
from models.errors import DataError
from models.types import Geometry

TOTAL_ML = (1000.0, 11000.0)
SHARE = (1 / 6, 5 / 6)
USUAL_SHARE = (0.4, 0.66)
CUT = 0.1  # area in the first or last slice, of the largest slice's: above it the lungs are cut off there
LEAST_HEIGHT_MM = 130.0  # of a scan that cuts them off
BASES_MM = 50.0  # difference in height of the lungs' lower ends
_HINT = "supply a mask of the lungs (--lungs on the command line), or a CT of the whole chest"


def check_lungs(right: BoolArray, left: BoolArray, geometry: Geometry) -> tuple[str, ...]:
    """Warnings about lungs that may be taken as they are.

    Args:
        right, left: (D, H, W), slices to the head.

    Raises:
        DataError: the scan holds too small a part of the lungs, or their volumes are implausible.
    """
    areas = np.array([(right[index] | left[index]).sum() for index in range(len(right))], dtype=float)
    ml = voxel_ml(geometry)
    right_ml, left_ml = float(right.sum()) * ml, float(left.sum()) * ml
    total = right_ml + left_ml
    volumes = f"right {right_ml:.0f} ml, left {left_ml:.0f} ml"
    if not total:
        raise DataError(f"No lungs are found in the scan; {_HINT}.")
    ends = {"lower": areas[0] / areas.max(), "upper": areas[-1] / areas.max()}
    cut = [name for name, share in ends.items() if share > CUT]
    height = np.ptp(np.flatnonzero(areas)) * geometry.spacing[2]
    if len(cut) == 2 or (cut and height < LEAST_HEIGHT_MM):
        raise DataError(
            f"The scan holds a part of the lungs only ({height:.0f} mm of their height, cut off at the"
            f" {' and the '.join(cut)} end), so nothing can be said in percent of them; {_HINT}."
        )
    if not TOTAL_ML[0] <= total <= TOTAL_ML[1]:
        raise DataError(
            f"The lungs found are implausible ({volumes}; both together {TOTAL_ML[0]:.0f} to {TOTAL_ML[1]:.0f} ml are"
            f" expected of an adult); {_HINT}."
        )
    share = right_ml / total
    if not SHARE[0] <= share <= SHARE[1]:
        raise DataError(
            f"The lungs found are implausible ({volumes}; the right one has {share:.0%} of both, expected {SHARE[0]:.0%} to"
            f" {SHARE[1]:.0%}): one may be collapsed, consolidated or cut off; {_HINT}."
        )
    warnings = [
        f"The scan cuts the lungs off at the {name} end ({ends[name]:.0%} of their largest area lies in the outermost"
        " slice): volumes and percentages are of the part in the scan."
        for name in cut
    ]
    if not USUAL_SHARE[0] <= share <= USUAL_SHARE[1]:
        warnings.append(f"The lungs differ more in size than usual ({volumes}); look at the lung masks.")
    higher = abs(_base(right) - _base(left)) * geometry.spacing[2]
    if higher > BASES_MM:
        warnings.append(
            f"One lung ends {higher:.0f} mm above the other: its base may be consolidated or collapsed, which is not counted"
            " into the lung; look at the lung masks."
        )
    if _touches_border(right | left):
        warnings.append("The lungs reach the edge of the picture: a part of them may lie outside the scan.")
    return tuple(warnings)


def _base(lung: BoolArray) -> int:
    """The lowest slice with lung."""
    return int(lung.any(axis=(1, 2)).argmax())


def _touches_border(lungs: BoolArray) -> bool:
    """Whether the lungs meet the edge of their slices."""
    inner = np.zeros(lungs.shape[1:], dtype=bool)
    inner[1:-1, 1:-1] = True
    return bool(lungs[:, ~inner].any())
