"""The table of findings under the viewer."""

from dashboard.widgets.findings.findings import Finding, findings

__all__ = ["Finding", "findings"]
