"""The linked image viewer (see :mod:`dashboard.widgets.viewer.viewer`)."""

from dashboard.widgets.viewer.packing import MapLayer
from dashboard.widgets.viewer.viewer import Pane, ViewerEvents, preload, viewer

__all__ = ["MapLayer", "Pane", "ViewerEvents", "preload", "viewer"]
