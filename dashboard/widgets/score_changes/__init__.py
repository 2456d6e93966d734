"""Every class's probability before and after."""

from dashboard.widgets.score_changes.score_changes import score_changes

__all__ = ["score_changes"]
