"""A model's preprocessing in words: one text for the app and for the model's page."""

from __future__ import annotations

from models.card import InputTable

_FITS = {
    "stretch": "stretched to {size} pixels",
    "letterbox": "scaled to fit {size} pixels, the rest padded with black",
    "center-crop": "scaled to fill {size} pixels, what sticks out cut off",
    "spacing": "resampled to {spacing:g} mm a pixel, cut or padded to {size} pixels around the centre",
}


def preprocessing(table: InputTable) -> list[str]:
    """The steps from an image to the network's input, in order."""
    if table.window is not None:
        low, high = table.window.center - table.window.width / 2, table.window.center + table.window.width / 2
        steps = [f"Grey values: {low:g} to {high:g} HU become 0 to 1; images in other units keep their own window."]
    else:
        steps = ["Grey values: the image's own window, or its full range, becomes 0 to 1."]
    if table.slices > 1:
        steps.append(
            f"Slices: the slice shown, and those {table.slice_step_mm:g} mm before and after it, one a channel."
        )
    elif table.channels == 3:
        steps.append("Channels: red, green, blue; grey is repeated.")
    else:
        steps.append("Channels: one; colour is turned to grey.")
    fit = _FITS[table.fit].format(size=f"{table.width} x {table.height}", spacing=table.spacing_mm or 0)
    steps.append(f"Size: {fit}.")
    if any(table.mean) or any(value != 1 for value in table.std):
        steps.append(f"Scale: minus {_numbers(table.mean)}, divided by {_numbers(table.std)}.")
    return steps


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in dict.fromkeys(round(value, 4) for value in values))
