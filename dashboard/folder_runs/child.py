"""A process of our own code that answers what it is told, and ends when the one that started it does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import BinaryIO, cast

from dashboard.settings import ROOT


def command(module: str) -> tuple[str, ...]:
    """What starts a module of ours."""
    return (sys.executable, "-m", module)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Child:
    """A process with its standard input and output.

    Args:
        words: the command.
        environment: what differs from this process's.
    """

    def __init__(self, words: Sequence[str], environment: dict[str, str]) -> None:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(  # noqa: S603 (a fixed command)
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C is for the process that asks
        )
        self._input, self.output = cast(BinaryIO, self._process.stdin), cast(BinaryIO, self._process.stdout)

    def say(self, facts: object) -> None:
        """Raises EOFError when it is gone."""
        try:
            self._input.write(json.dumps(facts).encode() + b"\n")
            self._input.flush()
        except OSError:
            raise EOFError from None

    def kill(self) -> None:
        """End the process; from any thread."""
        self._process.kill()

    def stop(self) -> None:
        """End the process and put away what belongs to it."""
        self.kill()
        self._process.wait()
        for stream in (self._input, self.output):
            try:
                stream.close()
            except OSError:  # what was left to send has nowhere to go
                continue
