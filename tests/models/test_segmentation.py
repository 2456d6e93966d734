"""The U-Net and what serves its masks, against slow or independent ways to the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from models.card import read_card
from models.context import RunContext
from models.errors import Cancelled, ModelError
from models.handle import ModelHandle
from models.segmentation import TOP_SHARE, UNet, pool
from models.types import Geometry, Image, Modality
from tests.conftest import liven

Segmenter = Callable[..., Path]


def slice_of(height: int, width: int, seed: int = 0, geometry: Geometry | None = None) -> Image:
    values = np.random.default_rng(seed).random((1, height, width)).astype(np.float32)
    return Image(values, "unit interval", Modality.CT, geometry)


def unet(classes: int = 2) -> UNet:
    torch.manual_seed(0)
    return liven(UNet("mobilenetv3_small_050", classes))


def test_the_pooled_logit_is_the_mean_of_the_highest_pixels() -> None:
    masks = torch.randn(2, 3, 40, 30, generator=torch.Generator().manual_seed(1))
    most = round(40 * 30 * TOP_SHARE)
    expected = np.sort(masks.double().numpy().reshape(2, 3, -1), axis=-1)[..., -most:].mean(-1)
    np.testing.assert_allclose(pool(masks), expected, atol=1e-6)
    assert pool(masks[..., :2, :2]).shape == (2, 3)  # fewer than a hundred pixels: the highest one


def test_masks_lie_on_the_input_and_gradients_reach_it() -> None:
    net, image = unet(), torch.randn(2, 3, 64, 96, requires_grad=True)
    masks = net.masks(image)
    assert masks.shape == (2, 2, 64, 96)
    torch.testing.assert_close(net(image), pool(masks))
    net(image)[0, 1].backward()
    assert image.grad is not None
    assert image.grad[0].abs().sum() > 0
    assert image.grad[1].abs().sum() == 0


def test_an_encoder_of_odd_size_is_followed_level_by_level() -> None:
    assert unet().masks(torch.zeros(1, 3, 70, 50)).shape == (1, 2, 70, 50)


@pytest.mark.parametrize("fit", ["letterbox", "stretch", "center-crop"])
def test_masks_are_calibrated_and_laid_on_the_image(segmenter: Segmenter, fit: str) -> None:
    """Against scipy's interpolation of the calibrated pixel probabilities, at the places the convention gives."""
    size = {"height": 64, "width": 96, "fit": fit, "modality": ["ct"]}
    handle = ModelHandle.load(read_card(segmenter(input=size)))
    image = slice_of(150, 130, geometry=Geometry.from_spacing(0.8, 0.6))
    (prediction,) = handle.predict([image])
    prepared = handle.prepare(image)
    with handle.exclusive(RunContext()) as module, torch.inference_mode():
        logits = module.masks(prepared.tensor)[0].double().numpy()
    (sx, _, dx), (_, sy, dy) = prepared.grid_to_image[:2]
    rows, columns = (np.arange(150) - dy) / sy, (np.arange(130) - dx) / sx
    assert prediction.masks is not None
    assert prediction.masks.shape == (2, 150, 130)
    assert prediction.masks.dtype == np.float32
    seen = np.logical_and.outer((rows > -0.5) & (rows < 63.5), (columns > -0.5) & (columns < 95.5))
    assert seen.all() == (fit != "center-crop")
    for k, (scale, offset) in enumerate(((2.0, 0.1), (3.0, -0.2))):
        probability = 1 / (1 + np.exp(-(logits[k] * scale + offset)))
        places = np.meshgrid(np.clip(rows, 0, 63), np.clip(columns, 0, 95), indexing="ij")
        expected = map_coordinates(probability, places, order=1)
        inner = np.logical_and.outer((rows > 1) & (rows < 62), (columns > 1) & (columns < 94))
        if fit == "letterbox":  # the padding beside the image has no weight
            inner[:, :2] = inner[:, -2:] = False
        np.testing.assert_allclose(prediction.masks[k][inner], expected[inner], atol=1e-5)
        assert not prediction.masks[k][~seen].any()


def test_scores_and_masks_come_from_one_forward_and_do_not_depend_on_the_batch(segmenter: Segmenter) -> None:
    handle = ModelHandle.load(read_card(segmenter()))
    images = [slice_of(60 + 7 * n, 80, n) for n in range(5)]
    ctx = RunContext()
    together = handle.predict(images, ctx, batch_size=4)
    assert ctx.ticks == 5
    for image, found in zip(images, together, strict=True):
        (alone,) = handle.predict([image])
        np.testing.assert_allclose(found.masks, alone.masks, atol=1e-5)
        np.testing.assert_allclose(found.logits, alone.logits, atol=1e-4)
        with handle.exclusive(RunContext()) as module, torch.inference_mode():
            np.testing.assert_allclose(found.logits, module(handle.prepare(image).tensor)[0], atol=1e-4)


def test_a_mask_is_where_a_pixel_reaches_its_class_threshold(segmenter: Segmenter) -> None:
    card = read_card(segmenter(thresholds={"values": {"Infection": 0.3, "Effusion": 0.7}}))
    (prediction,) = ModelHandle.load(card).predict([slice_of(64, 96)])
    assert prediction.found is not None
    for k, threshold in enumerate((0.3, 0.7)):
        np.testing.assert_array_equal(prediction.found[k], prediction.masks[k] >= np.float32(threshold))
    assert 0 < prediction.found.mean() < 1


def test_other_networks_give_no_masks(make_model: Callable[..., Path]) -> None:
    (prediction,) = ModelHandle.load(read_card(make_model())).predict([slice_of(64, 64)])
    assert prediction.masks is None
    assert prediction.found is None


def test_features_are_the_encoders_last_map_averaged(segmenter: Segmenter) -> None:
    handle = ModelHandle.load(read_card(segmenter()))
    tensor = handle.prepare(slice_of(64, 96)).tensor
    outputs = handle.forward(tensor, RunContext())
    with handle.exclusive(RunContext()) as module, torch.inference_mode():
        deepest = module.encoder(tensor)[-1]
    np.testing.assert_allclose(outputs.features, deepest.double().mean((2, 3)), atol=1e-5)


def test_a_cancelled_prediction_stops_before_the_forward(segmenter: Segmenter) -> None:
    handle, ctx = ModelHandle.load(read_card(segmenter())), RunContext()
    ctx.cancel()
    with pytest.raises(Cancelled):
        handle.predict([slice_of(64, 96)], ctx)


def test_an_encoder_nobody_knows_is_named(segmenter: Segmenter) -> None:
    with pytest.raises(ModelError, match="no network 'no_such_encoder'"):
        ModelHandle.load(read_card(segmenter(architecture="unet:no_such_encoder")))
