"""Containers of a frozen config: they read as list and dict and refuse to change."""

from typing import Any, NoReturn

from axl_exp.config.errors import FrozenConfigError


def _refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
    raise FrozenConfigError("This config is resolved and frozen; change a clone() of it instead")


class FrozenList(list):
    """A list inside a frozen config."""

    append = extend = insert = remove = pop = clear = sort = reverse = _refuse  # pyright: ignore
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse  # pyright: ignore


class FrozenDict(dict):
    """A dict inside a frozen config."""

    update = setdefault = pop = popitem = clear = _refuse  # pyright: ignore
    __setitem__ = __delitem__ = __ior__ = _refuse  # pyright: ignore
