"""What of WebOb our Request and Response do not offer: such attributes say so, instead of doing half of what they promise.

WebOb's classes have a hundred attributes that read and write what we keep in another form. Those that work on ours are named where the
classes are; all others are blocked here, also those of a WebOb that is still to come.
"""

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

_Class = TypeVar("_Class", bound=type)


class NotOffered(AttributeError):
    """An attribute of WebOb that does not work on our requests and responses."""


class _Blocked:
    """Stands where an attribute of WebOb's would be inherited. Reading, setting, deleting and calling it raise NotOffered."""

    def __init__(self, name: str) -> None:
        self.name = name

    def _refuse(self, kind: str) -> NoReturn:
        raise NotOffered(f"WebOb's {kind}.{self.name} is not offered here: see swift/wire/{kind.lower()}.py")

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else self._refuse(_family(owner))

    def __set__(self, instance: Any, value: Any) -> None:
        self._refuse(_family(type(instance)))

    def __delete__(self, instance: Any) -> None:
        self._refuse(_family(type(instance)))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotOffered(f"WebOb's {self.name}() is not offered here")


def _family(owner: type) -> str:
    """Request or Response, for one of their subclasses too."""
    names = [base.__name__ for base in owner.__mro__]
    return "Request" if "Request" in names else "Response"


def offers(*kept: str) -> Callable[[_Class], _Class]:
    """A class decorator: of what the class inherits from outside of this package it offers `kept`, and nothing else."""

    def decorated(cls: _Class) -> _Class:
        ours = [base for base in cls.__mro__ if base.__module__.startswith("swift.")]
        own = {name for base in ours for name in (*vars(base), *vars(base).get("__annotations__", ()))}
        for name in dir(cls):
            if not name.startswith("_") and name not in own and name not in kept:
                setattr(cls, name, _Blocked(name))
        return cls

    return decorated
