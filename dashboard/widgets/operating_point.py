"""Which operating points decide on the Case page: the card's, or ones kept on the Audit page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import streamlit as st

from dashboard.audit.points import list_points, points_for
from dashboard.settings import settings
from models.card import ModelCard
from models.errors import SightlineError
from models.types import Prediction

OF_CARD = "The model card's"


def at_operating_point(card: ModelCard, prediction: Prediction) -> tuple[Prediction, str]:
    """The prediction under the points the reader has chosen, and where these come from; no control without a choice.

    Exclusive classes are decided together, so that single points do not apply to them.
    """
    names = () if card.exclusive else list_points(settings().operating_points, card.id)
    if not names:
        return prediction, card.thresholds.source
    name = st.selectbox("Operating points", [OF_CARD, *names], key=f"points-{card.id}", width=320)
    if name == OF_CARD:
        return prediction, card.thresholds.source
    try:
        points = points_for(settings().operating_points, card.id, name)
    except SightlineError as error:
        st.error(str(error), icon=":material/error:")
        return prediction, card.thresholds.source
    pairs = zip(prediction.classes, prediction.thresholds, strict=True)
    chosen = np.asarray([points.get(finding, float(own)) for finding, own in pairs], dtype=np.float32)
    kept = [finding for finding in prediction.classes if finding not in points]
    rest = f"; the card's for the other {len(kept)} findings" if kept else ""
    return replace(prediction, thresholds=chosen), f"{name}, kept on the Audit page{rest}"
