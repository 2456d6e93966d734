"""The volume viewer runs in a fragment of its own, but not within another fragment."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from dashboard.widgets.viewer.component import in_fragment


def page() -> None:
    import numpy as np
    import streamlit as st

    from dashboard.widgets.viewer.component import in_fragment
    from dashboard.widgets.volume_viewer import Overlay, volume_viewer
    from models.types import Image

    image = Image(np.zeros((1, 4, 5, 6), np.float32), "HU")
    overlay = Overlay("m", "Mask", mask=np.ones((4, 5, 6), bool))
    st.text(f"page {in_fragment()} {volume_viewer(image, [overlay], key='one')}")

    @st.fragment
    def inner() -> None:
        st.text(f"fragment {in_fragment()} {volume_viewer(image, key='two')}")

    inner()


def test_it_knows_whether_it_is_in_a_fragment() -> None:
    app = AppTest.from_function(page).run()
    assert not app.exception
    assert [text.value for text in app.text] == [
        "page False VolumeEvents(at=None)",
        "fragment True VolumeEvents(at=None)",
    ]
    assert not in_fragment(), "outside any script"
