"""A named collection that its members join themselves; ids are kebab-case, unique and never change."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Generic, TypeVar

T = TypeVar("T")
_KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class Registry(Generic[T]):
    """Members by id, in order of registration.

    A package calls :meth:`discover` on itself once, so that a member is added by adding one file.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._members: dict[str, T] = {}

    def register(self, member_id: str, member: T) -> T:
        """Add a member. Raises ValueError for an id that is taken or not kebab-case (a programming error)."""
        if not _KEBAB.fullmatch(member_id):
            raise ValueError(f"{self._what} id {member_id!r} is not kebab-case")
        if member_id in self._members:
            raise ValueError(f"{self._what} id {member_id!r} is registered twice")
        self._members[member_id] = member
        return member

    def get(self, member_id: str, error: type[Exception] = KeyError) -> T:
        """The member of that id; raises ``error`` with the known ids listed."""
        try:
            return self._members[member_id]
        except KeyError:
            known = ", ".join(self._members) or "none"
            raise error(f"There is no {self._what} named {member_id!r}; known: {known}.") from None

    def ids(self) -> tuple[str, ...]:
        return tuple(self._members)

    def __iter__(self) -> Iterator[T]:
        return iter(self._members.values())

    def __contains__(self, member_id: object) -> bool:
        return member_id in self._members

    def __len__(self) -> int:
        return len(self._members)


def discover(package: ModuleType) -> None:
    """Import every module of ``package`` in name order, so that each can register itself."""
    for module in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
        if not module.startswith("_"):
            importlib.import_module(f"{package.__name__}.{module}")
