"""Containers of a frozen config: they read as list, dict and set, and refuse to change."""

from typing import Any, NoReturn

from axl_exp.config.errors import FrozenConfigError


def _refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
    raise FrozenConfigError("This config is resolved and frozen; change a clone() of it instead")


class FrozenList(list):
    """A list inside a frozen config."""

    append = extend = insert = remove = pop = clear = sort = reverse = _refuse  # pyright: ignore
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse  # pyright: ignore

    def __reduce__(self) -> Any:
        return FrozenList, (list(self),)  # unpickling a plain subclass would append


class FrozenDict(dict):
    """A dict inside a frozen config."""

    update = setdefault = pop = popitem = clear = _refuse  # pyright: ignore
    __setitem__ = __delitem__ = __ior__ = _refuse  # pyright: ignore

    def __reduce__(self) -> Any:
        return FrozenDict, (dict(self),)


class FrozenSet(set):
    """A set inside a frozen config."""

    add = remove = discard = pop = clear = update = _refuse  # pyright: ignore
    difference_update = intersection_update = symmetric_difference_update = _refuse
    __ior__ = __iand__ = __isub__ = __ixor__ = _refuse  # pyright: ignore

    def __reduce__(self) -> Any:
        return FrozenSet, (set(self),)
