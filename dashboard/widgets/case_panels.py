"""The panels under the viewer: findings, what is known of the case, downloads."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import streamlit as st

from dashboard.cases import readable
from dashboard.reports.files import (
    manifest_bytes,
    manifest_entry,
    nifti_bytes,
    npz_bytes,
    overlay_png,
    scores_of,
)
from dashboard.reports.trust import map_record
from dashboard.serving.types import Explanation
from dashboard.widgets.findings import Finding, findings
from explainers.quality.types import Verdict
from models.card import ModelCard
from models.types import Case, Prediction


def findings_panel(
    card: ModelCard, prediction: Prediction, case: Case, chosen: int, source: str, key: str
) -> int | None:
    """All classes, the most probable first; returns a class the reader has just chosen.

    Args:
        source: where the operating points come from.
    """
    truth = {readable(name).casefold(): value for name, value in case.labels.items()}
    rows = []
    for index in prediction.order:
        name = readable(prediction.classes[index])
        flagged = index in prediction.flagged
        if prediction.exclusive:
            decision = "decided for" if flagged else ""
            threshold = None
        else:
            decision = "flagged" if flagged else "below"
            threshold = float(prediction.thresholds[index])
        probability = float(prediction.probabilities[index])
        alarming = flagged and not prediction.exclusive
        rows.append(Finding(index, name, probability, threshold, alarming, decision, truth.get(name.casefold())))
    plain = prediction.exclusive and prediction.flagged == prediction.order[:1]
    note = "" if plain else f"Operating points: {source}."
    calibrated = card.calibration.method != "none"
    return findings(rows, chosen=chosen, key=key, note=note, calibrated=calibrated)


def about_panel(case: Case, card: ModelCard | None, prediction: Prediction | None) -> None:
    """Origin, licence, what survived de-identification, and what the model says of itself."""
    provenance = case.provenance
    lines = [f"**Origin**: {provenance.source}" + (f" · {provenance.licence}" if provenance.licence else "")]
    if case.attributes:
        lines.append("**Attributes**: " + ", ".join(f"{name} {value}" for name, value in case.attributes.items()))
    if provenance.kept:
        lines.append(
            "**Kept from the header**: " + ", ".join(provenance.kept) + ". Everything else was dropped on reading."
        )
    lines += [f"**Note**: {note}" for note in provenance.notes]
    if prediction is not None and prediction.distance is not None:
        lines.append(
            f"**Likeness**: farther from the training images than {prediction.distance:.0f} % of held-out images."
        )
    if card is not None:
        lines.append(f"**Model**: {card.title}, version {card.version}. {card.intended_use}")
    for line in lines:
        st.markdown(line)


def download_panel(
    case: Case,
    index: int,
    maps: Mapping[str, Explanation],
    prediction: Prediction,
    verdicts: Mapping[str, tuple[Verdict, ...]],
) -> None:
    """Raw maps, overlays and manifest of the slice shown as one zip, made when asked for.

    Args:
        verdicts: of the checks of each map, as far as they are.
    """
    st.download_button(
        "Maps, overlays and manifest (zip)",
        data=lambda: _zip(case, index, maps, prediction, verdicts),
        file_name=f"{case.id}-maps.zip",
        mime="application/zip",
        icon=":material/download:",
        disabled=not maps,
        on_click="ignore",
        help="NPZ with the raw values, NIfTI where the geometry is known, PNG overlays, and a JSON manifest to compute "
        "them again, with the trust checks of each map.",
    )


def _zip(
    case: Case,
    index: int,
    maps: Mapping[str, Explanation],
    prediction: Prediction,
    verdicts: Mapping[str, tuple[Verdict, ...]],
) -> bytes:
    image = case.image.slice(index)
    buffer = io.BytesIO()
    entries = []
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for method, explanation in maps.items():
            stem = f"{method}.{explanation.attribution.target.name}".replace(" ", "_")
            archive.writestr(f"{stem}.npz", npz_bytes(explanation))
            archive.writestr(f"{stem}.png", overlay_png(image, explanation))
            if image.geometry is not None:
                archive.writestr(f"{stem}.nii.gz", nifti_bytes(explanation, image.geometry))
            entry = {"file": f"{stem}.npz", **manifest_entry(explanation, case, index)}
            entries.append(entry | ({"trust": map_record(verdicts[method])} if verdicts.get(method) else {}))
        archive.writestr("manifest.json", manifest_bytes(entries, scores=scores_of(prediction)))
    return buffer.getvalue()
