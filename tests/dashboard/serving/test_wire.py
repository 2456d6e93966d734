"""Messages: whatever goes in comes out, bit for bit, and what is damaged is refused in one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from dashboard.serving.protocol import Frames, Kind, frame, lean, progress, read_progress, stamp
from dashboard.serving.types import ExplainRequest, Health, JudgeRequest, image_digest
from dashboard.serving.wire import decode, encode
from models.card import read_card
from models.errors import DataError
from models.preprocess import InputSpec, prepare
from models.types import FloatArray, Image, Modality, Target, Window
from tests.dashboard.serving.test_contract import pictures

SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


@dataclass(frozen=True, eq=False)
class Holder:
    floats: FloatArray
    doubles: NDArray[np.float64]
    masks: NDArray[np.bool_]
    counts: NDArray[np.int64]
    number: float
    text: str
    settings: Mapping[str, int | float | str]
    kind: Literal["one", "two"] = "one"
    modality: Modality = Modality.CT
    within: tuple[Holder, int] | None = None
    pairs: tuple[tuple[int, str], ...] = field(default=())


def same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


holders = st.builds(
    Holder,
    floats=arrays.arrays(np.float32, SHAPES, elements=st.floats(width=32)),
    doubles=arrays.arrays(np.float64, SHAPES),
    masks=arrays.arrays(np.bool_, SHAPES),
    counts=arrays.arrays(np.int64, SHAPES),
    number=st.floats() | st.integers(-(2**60), 2**60),
    text=st.text(),
    settings=st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False) | st.text()),
    kind=st.sampled_from(["one", "two"]),
    modality=st.sampled_from(Modality),
    pairs=st.lists(st.tuples(st.integers(), st.text())).map(tuple),
)


@settings(max_examples=15, deadline=None)
@given(one=holders, index=st.integers(0, 9))
def test_all_comes_back_bit_for_bit(one: Holder, index: int) -> None:
    outer = Holder(**{**one.__dict__, "within": (one, index)})
    found = decode(encode(outer), Holder)
    for made in (found, found.within[0]):
        for name in ("floats", "doubles", "masks", "counts"):
            assert same(getattr(made, name), getattr(one, name))
            assert not getattr(made, name).flags.writeable
        assert type(made.number) is type(one.number)
        assert made.number == one.number or (math.isnan(made.number) and math.isnan(one.number))
        assert (made.text, made.kind, made.modality, made.pairs) == (one.text, one.kind, one.modality, one.pairs)
        assert list(made.settings.items()) == list(one.settings.items())
        assert [type(value) for value in made.settings.values()] == [type(value) for value in one.settings.values()]
    assert found.within[1] == index


@pytest.mark.parametrize("values", [[0.0, -0.0], [32767, -32767], [32768.0], [0.5, 1], [np.nan, 1], [np.inf], []])
def test_whole_numbers_lose_nothing(values: list[float]) -> None:
    array = np.array(values, np.float32)
    assert same(decode(encode(array), FloatArray), array)


def test_scans_and_masks_are_short_and_an_image_is_sent_once() -> None:
    scan = Image(np.random.default_rng(0).integers(-1024, 3000, (1, 200, 200)).astype(np.float32), "HU")
    assert len(encode(scan)) < 2.1 * scan.values.size
    assert len(encode({"one": scan, "two": scan})) < 2.2 * scan.values.size
    mask = np.random.default_rng(0).random((300, 301)) > 0.5
    assert len(encode(mask)) < mask.size / 8 + 300


@settings(max_examples=80, deadline=None)
@given(place=st.integers(0, 10**6), byte=st.integers(0, 255), cut=st.integers(0, 10**6))
def test_damaged_messages_are_refused(place: int, byte: int, cut: int) -> None:
    image = Image(np.arange(12, dtype=np.float32).reshape(1, 3, 4) / 7, "unit interval")
    data = bytearray(encode(ExplainRequest("tiny", image, "grad-cam", Target("Beta", 1), {"layer": ""})))
    data[place % len(data)] = byte
    for damaged in (bytes(data), bytes(data[: cut % len(data)])):
        with suppress(DataError):  # and nothing else
            assert isinstance(decode(damaged, ExplainRequest).image.values, np.ndarray)


@pytest.mark.parametrize(
    "foreign", [b"", b"\x80\x04\x95pickle", b"{}", encode((1, 2)), encode({"image": 3}), encode(None)]
)
def test_foreign_messages_are_refused(foreign: bytes) -> None:
    for kind in (ExplainRequest, JudgeRequest, Health, Image):
        with pytest.raises(DataError, match="cannot be read"):
            decode(foreign, kind)


def test_only_what_belongs_to_the_type_is_built() -> None:
    with pytest.raises(DataError):
        decode(
            encode({"model_id": "x", "image": {}, "method": "m", "target": {"name": "a", "index": 0}, "more": 1}),
            ExplainRequest,
        )
    with pytest.raises(DataError):
        decode(encode({"name": "lung", "center": "0", "width": 3.0}), Window)
    with pytest.raises(DataError):
        decode(encode(np.zeros(3)), FloatArray)
    deep: Any = None
    for _ in range(5000):
        deep = {"within": [deep, 0]}
    with pytest.raises((DataError, RecursionError)):
        decode(encode(deep), Image)


def test_a_lean_image_shows_the_network_the_same_and_nothing_else(film: Image, volume: Image) -> None:
    specs = [InputSpec(32, 32), InputSpec(32, 32, fit="spacing", spacing_mm=1.0, slices=3, slice_step_mm=1.1)]
    for image in pictures(film, volume):
        for spec in specs if image.geometry is not None else specs[:1]:
            sent = decode(encode(lean(image, spec)), Image)
            assert image_digest(sent, spec) == image_digest(image, spec)
            ours, theirs = prepare(sent, spec), prepare(image, spec)
            assert same(ours.tensor.numpy(), theirs.tensor.numpy())
            assert same(ours.grid_to_image, theirs.grid_to_image)
            assert sent.within is None
            assert len(sent.windows) == 1
            assert sent.windows[0].name == ""
            if sent.geometry is not None:
                assert not sent.geometry.affine[:3, 3].any()


@settings(max_examples=40, deadline=None)
@given(
    payloads=st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=50)), max_size=6),
    sizes=st.lists(st.integers(1, 30), min_size=1),
)
def test_frames_are_found_however_the_stream_is_cut(payloads: list[tuple[Kind, bytes]], sizes: list[int]) -> None:
    data = b"".join(frame(kind, payload) for kind, payload in payloads)
    cutter, found, at, step = Frames(), [], 0, 0
    while at < len(data):
        size = sizes[step % len(sizes)]
        found += list(cutter.feed(data[at : at + size]))
        at, step = at + size, step + 1
    assert found == payloads


def test_what_is_no_frame_is_refused() -> None:
    for data in (b"HTTP/1.1 502 Bad Gateway", b"\x01" + b"\xff" * 8):
        with pytest.raises(DataError):
            list(Frames().feed(data))
    ((kind, payload),) = Frames().feed(progress(3, 2**40))
    assert (kind, read_progress(payload)) == (Kind.PROGRESS, (3, 2**40))


def test_a_stamp_changes_with_the_card_and_not_with_its_place(zoo: Any, tmp_path: Any) -> None:
    card = read_card(zoo / "tiny")
    assert stamp(card) == stamp(card.model_copy(update={"folder": tmp_path}))
    assert stamp(card) != stamp(card.model_copy(update={"classes": ("A", "B", "C")}))
