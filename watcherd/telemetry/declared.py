"""Tables of what is declared once: events and metrics, each found by its name. Pure."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Protocol, TypeVar


class Named(Protocol):
    """Whatever is declared."""

    @property
    def name(self) -> str:
        """By which it is found."""


N = TypeVar("N", bound=Named)


def by_name(declared: Iterable[N]) -> Mapping[str, N]:
    """Each by its name, in the order of the declarations. Raises ValueError where one is declared twice."""
    table: dict[str, N] = {}
    for one in declared:
        if table.setdefault(one.name, one) is not one:
            raise ValueError(f"{one.name} is declared twice")
    return MappingProxyType(table)
