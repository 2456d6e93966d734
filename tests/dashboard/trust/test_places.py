"""What is known of a case: which of its regions is the place of the class explained, and which are parts of the body."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dashboard.settings import ZOO
from dashboard.trust.places import body_of, mask_on, places_of
from models.card import ModelCard, find_cards
from models.types import Case, Image, Modality, Provenance, Region
from sample_data.samples import load_sample


@pytest.fixture(scope="module")
def cards() -> dict[str, ModelCard]:
    return dict(find_cards([Path(ZOO)])[0])


def test_a_finding_among_many_has_its_own_place_only(cards: dict[str, ModelCard]) -> None:
    case, card = load_sample("phantom-chest-effusion"), cards["chest-xray-14"]
    assert set(places_of(case, 0, card, card.target("Effusion"))) == {"Effusion"}
    assert places_of(case, 0, card, card.target("Nodule")) == {}


def test_a_kind_of_lesion_lies_where_the_lesion_is(cards: dict[str, ModelCard]) -> None:
    case, card = load_sample("phantom-brain-ring"), cards["brain-tumor-mri"]
    assert set(places_of(case, 0, card, card.target("Glioma"))) == {"Ring-enhancing lesion"}
    assert places_of(case, 0, card, card.target("No tumor")) == {}
    assert places_of(load_sample("phantom-brain-normal"), 0, card, card.target("Glioma")) == {}


def test_the_cases_own_organs_stand_for_found_ones(cards: dict[str, ModelCard]) -> None:
    case = load_sample("phantom-chest-effusion")
    found = body_of(case, 0, cards["chest-xray-14"])
    own = {region.name.lower(): region.mask for region in case.regions}
    assert np.array_equal(found["left lung"], own["left lung"])
    assert "effusion" not in found


def test_a_picture_that_says_nothing_is_taken_for_what_the_model_reads(cards: dict[str, ModelCard]) -> None:
    known = load_sample("phantom-chest-effusion")
    bare = Case(
        "x",
        "x",
        Image(known.image.values, known.image.unit, Modality.UNKNOWN),
        provenance=Provenance("a test", sha256="0" * 64, reader="test"),
    )
    assert "left lung" in body_of(bare, 0, cards["chest-xray-14"])


def test_a_box_holds_the_pixels_whose_centres_it_holds() -> None:
    image = Image(np.zeros((1, 6, 8), np.float32), "unit interval", Modality.XRAY)
    mask = mask_on(Region("box", box=(1.4, 2.0, 4.6, 3.5)), image, 0)
    rows, columns = np.nonzero(mask)
    assert set(rows) == {2}  # centres at 2.5; 3.5 is the edge and belongs to the next
    assert set(columns) == {1, 2, 3, 4}
