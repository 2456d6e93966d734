"""The volume viewer (see :mod:`dashboard.widgets.volume_viewer.volume_viewer`)."""

from dashboard.widgets.volume_viewer.overlays import Overlay, Strip
from dashboard.widgets.volume_viewer.volume_viewer import VolumeEvents, volume_viewer

__all__ = ["Overlay", "Strip", "VolumeEvents", "volume_viewer"]
