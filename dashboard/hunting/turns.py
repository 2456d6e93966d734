"""When a hunt may use the network: at once, or only while no reader waits for an explanation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from dashboard.jobs.desk import Desk
from models.context import RunContext

T = TypeVar("T")


class Turn(Protocol):
    """Runs a short piece of work with a network, and gives what it gives."""

    def __call__(self, work: Callable[[RunContext], T]) -> T: ...


def at_once(ctx: RunContext) -> Turn:
    """For a process that nobody else uses."""

    def turn(work: Callable[[RunContext], T]) -> T:
        ctx.check()
        return work(ctx.quietly())

    return turn


def behind_readers(desk: Desk, key: str, owner: str, ctx: RunContext) -> Turn:
    """For a page; ``key`` names the hunt."""

    def turn(work: Callable[[RunContext], T]) -> T:
        return desk.do_in_turn(key, work, owner, ctx)

    return turn
