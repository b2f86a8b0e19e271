"""Who may look across tenants, and why: the exceptions to "every query takes a tenant" say so themselves."""

from collections.abc import Callable
from typing import TypeVar

_F = TypeVar("_F", bound=Callable[..., object])


def crosses_tenants(_reason: str) -> Callable[[_F], _F]:
    """Mark a query that is not bound to one tenant. The reason is for readers, and the lint that asks for it."""
    return lambda function: function
