"""What is sent to the browser, decoded here by its own description and compared with the image."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.widgets.viewer.packing import MapLayer, Packed, pack_image, pack_map, pack_region, reduction
from models.errors import DataError
from models.types import Image, Modality, Region, Window


def decode(packed: Packed) -> np.ndarray:
    """(D, H, W, C) values in the image's unit."""
    facts = packed.facts
    assert packed.data[:32].decode() == packed.blob == facts["blob"]
    sent = np.frombuffer(packed.data[32:], facts["dtype"]).reshape(*facts["shape"], facts["channels"])
    return sent * facts["scale"] + facts["offset"]


def image(values: np.ndarray, unit: str = "stored value") -> Image:
    return Image(values.astype(np.float32), unit, Modality.OTHER)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("low", "high"), [(-1024, 3071), (0, 65535), (-32768, 32767), (40000, 60000), (7, 7)], ids=lambda end: str(end)
)
def test_whole_numbers_come_through_exactly(low: int, high: int) -> None:
    values = np.random.default_rng(0).integers(low, high + 1, (1, 3, 20, 30)).astype(np.float32)
    values.flat[0], values.flat[1] = low, high
    packed = pack_image(image(values, "HU"))
    assert packed.facts["exact"]
    np.testing.assert_array_equal(decode(packed)[..., 0], values[0])


def test_photographs_come_through_exactly() -> None:
    values = np.random.default_rng(1).integers(0, 256, (3, 20, 30)) / 255
    packed = pack_image(image(values, "unit interval"))
    assert packed.facts["exact"]
    np.testing.assert_allclose(decode(packed)[0], np.moveaxis(values, 0, -1), atol=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 0.37, 1e7])
def test_other_values_are_within_half_a_step_and_say_so(scale: float) -> None:
    values = np.random.default_rng(2).normal(size=(1, 40, 50)).astype(np.float32) * np.float32(scale)
    packed = pack_image(image(values))
    assert not packed.facts["exact"]
    step = (float(values.max()) - float(values.min())) / 65535
    np.testing.assert_allclose(decode(packed)[0, ..., 0], values[0], atol=0.51 * step, rtol=1e-5)


def test_large_planes_are_averaged_over_blocks() -> None:
    rows, columns = np.mgrid[0:2101, 0:2203]
    large = image((rows + columns).astype(np.float32)[None])
    assert reduction(large) == 2
    packed = pack_image(large)
    assert packed.facts["shape"] == [1, 1051, 1102]
    assert packed.facts["size"] == [2203, 2101]
    assert not packed.facts["exact"]
    assert decode(packed)[0, 100, 50, 0] == 200.5 + 100.5, "mean of the block"


def test_windows_and_ranges_are_told() -> None:
    window = Window("table", 10, 20, "table", (0.0, 0.3, 1.0))
    plain = Image(np.arange(12, dtype=np.float32).reshape(1, 3, 4), "stored value", windows=(window,), inverted=True)
    facts = pack_image(plain).facts
    assert facts["windows"] == [
        {"name": "table", "center": 10, "width": 20, "shape": "table", "table": [0.0, 0.3, 1.0]}
    ]
    assert facts["range"] == [0.0, 11.0]
    assert facts["inverted"] is True


def test_masks_keep_every_pixel() -> None:
    mask = np.random.default_rng(3).random((5, 21, 34)) > 0.7
    volume = image(np.zeros((1, 5, 21, 34)))
    packed = pack_region(Region("lesion", mask), volume)
    bits = np.unpackbits(np.frombuffer(packed.data[32:], np.uint8))[: mask.size]
    np.testing.assert_array_equal(bits.reshape(packed.facts["shape"]).astype(bool), mask)
    with pytest.raises(DataError, match="lesion"):
        pack_region(Region("lesion", mask[:, :20]), volume)


def test_maps_are_sent_raw_and_bad_ones_refused() -> None:
    values = np.random.default_rng(4).normal(size=(7, 9)).astype(np.float32)
    packed = pack_map(MapLayer(values, np.eye(3), True, "logit"))
    np.testing.assert_array_equal(np.frombuffer(packed.data[32:], np.float32).reshape(7, 9), values)
    assert pack_map(MapLayer(values.copy(), np.eye(3), True, "logit")).blob == packed.blob
    with pytest.raises(DataError, match="finite"):
        MapLayer(np.full((2, 2), np.nan, np.float32), np.eye(3), True, "logit")
    with pytest.raises(DataError, match="invertible"):
        MapLayer(values, np.zeros((3, 3)), True, "logit")


def test_ct_has_the_usual_windows_after_its_own() -> None:
    values = np.zeros((1, 4, 5), np.float32)
    own = (Window("as stored", 50, 350), Window("bone", 400, 1800))
    ct = pack_image(Image(values, "HU", Modality.CT, windows=own)).facts["windows"]
    assert [(w["name"], w["center"], w["width"]) for w in ct] == [
        ("as stored", 50, 350),
        ("bone", 400, 1800),
        ("lung", -600, 1500),
        ("mediastinum", 40, 400),
        ("brain", 40, 80),
    ]
    mr = pack_image(Image(values, "stored value", Modality.MR, windows=own)).facts["windows"]
    assert [w["name"] for w in mr] == ["as stored", "bone"]
