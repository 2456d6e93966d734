"""A picture to draw a region on."""

from dashboard.widgets.drawing.drawing import Drawn, Outline, Sheet, drawing, sheet_of

__all__ = ["Drawn", "Outline", "Sheet", "drawing", "sheet_of"]
