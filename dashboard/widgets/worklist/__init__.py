"""The list of cases beside the viewer."""

from dashboard.widgets.worklist.worklist import WorklistRow, worklist

__all__ = ["WorklistRow", "worklist"]
