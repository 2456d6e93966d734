"""Labelled cases of a data folder on this machine; one module a data set, each of which registers itself.

Only test parts are offered, so that no shown case was trained on. A set whose folder is absent lists nothing.
"""

from __future__ import annotations

import sys

from models.registry import discover
from sample_data.folders._base import FOLDER_SETS, FolderSet

discover(sys.modules[__name__])

__all__ = ["FOLDER_SETS", "FolderSet"]
