"""``python -m dashboard COMMAND``: the dashboard's functions without the browser, one file of ``commands`` each."""

from __future__ import annotations

import logging

from dashboard import commands
from dashboard.commands.shared import app
from models.registry import discover

discover(commands)

if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    app()
