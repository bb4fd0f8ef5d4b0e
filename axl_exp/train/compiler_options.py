"""Options of a compiler that it refuses: one line that says which, and what to set."""

import contextlib
import re
from collections.abc import Iterator

import jax

from axl_exp.errors import UserError

_UNKNOWN = re.compile(r"No such compile option: '(?P<name>\w+)'")
_BAD_VALUE = (
    re.compile(r"Failed to parse '(?P<value>[^']*)' into flag (?P<name>\w+)"),
    re.compile(r"While setting option (?P<name>\w+), '(?P<value>[^']*)' is not"),
)


class CompilerOptionError(UserError):
    """The compiler does not know an option, or not with this value."""


@contextlib.contextmanager
def naming_refused_options() -> Iterator[None]:
    """Turn XLA's refusal of a compiler option into an error of ours; other errors pass.

    Raises:
        CompilerOptionError: A line that names the option and the field that sets it.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, RuntimeError, ValueError) as error:
        refusal = _refusal(str(error))
        if refusal is None:
            raise
        raise refusal from error


def _refusal(said: str) -> CompilerOptionError | None:
    if unknown := _UNKNOWN.search(said):
        name = unknown["name"]
        return CompilerOptionError(
            f"compiler_options: the compiler of this hardware has no option {name!r}; correct the "
            f"name, or leave it out (--config.compiler_options={{}} leaves out all)."
        )
    for pattern in _BAD_VALUE:
        if bad := pattern.search(said):
            name, value = bad["name"], bad["value"]
            return CompilerOptionError(
                f"compiler_options[{name!r}]: the compiler does not take {value!r}; give it the "
                "value that the option wants, true or false without quotes for one of XLA's own."
            )
    return None
