"""REQUIRED: the value of a config field that its user must set."""

from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union

T = TypeVar("T")


class RequiredFieldValue:
    """The type of `REQUIRED`; there is one instance, it is false, and it has no attributes to set.

    Reading or writing an attribute of it is always a mistake (`cfg.encoder.dim = 8` where
    `cfg.encoder` was never set), so both say which step is missing.
    """

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "REQUIRED"

    def __copy__(self) -> "RequiredFieldValue":
        return self

    def __deepcopy__(self, memo: Any) -> "RequiredFieldValue":
        return self

    def __reduce__(self) -> str:
        return "REQUIRED"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"Cannot read {name!r}: the field holding it is REQUIRED; set it first"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"Cannot set {name!r}: the field holding it is REQUIRED; set that field first"
        )


REQUIRED: Any = RequiredFieldValue()

if TYPE_CHECKING:
    # To a type checker a REQUIRED field has its type: what runs has passed `validate`.
    Required = Annotated[T, "or not set yet"]
else:
    # `Required[int]`: an int, or not set yet.
    Required = Union[T, RequiredFieldValue]  # noqa: UP007  (an alias generic in T needs Union)
