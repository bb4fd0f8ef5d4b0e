"""The check of annotations, against typeguard and by example."""

import collections.abc
import enum
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NewType, Optional, Protocol, TypeVar, Union

import jax.numpy as jnp
import numpy as np
import pytest
import typeguard
from hypothesis import given, settings
from hypothesis import strategies as st

from axl_exp.config import REQUIRED, InstantiableConfig, Required
from axl_exp.config.hints import misfit, type_text

scalars = st.one_of(
    st.none(),
    st.integers(-3, 3),
    st.sampled_from([0.5, 2.0]),
    st.sampled_from(["", "a", "b"]),
    st.binary(max_size=1),
    st.sampled_from([int, str, float]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from(["a", "b", 1]), inner, max_size=2),
    ),
    max_leaves=6,
)
annotations = st.recursive(
    st.sampled_from(
        [int, float, str, bytes, None, Any, object, type, list, dict]
        + [tuple, Literal["a", 1], type[int], Callable, Sequence, int | None]
    ),
    lambda inner: st.one_of(
        inner.map(lambda t: list[t]),
        inner.map(lambda t: Sequence[t]),
        inner.map(lambda t: tuple[t, ...]),
        st.tuples(inner, inner).map(lambda t: tuple[t]),
        inner.map(lambda t: dict[str, t]),
        inner.map(lambda t: Mapping[str, t]),
        st.tuples(inner, inner).map(lambda t: Union[t]),  # noqa: UP007
    ),
    max_leaves=4,
)


@settings(max_examples=400)
@given(value=values, hint=annotations)
def test_it_agrees_with_typeguard(value, hint):
    try:
        typeguard.check_type(
            value,
            hint,
            collection_check_strategy=typeguard.CollectionCheckStrategy.ALL_ITEMS,
        )
        fits = True
    except typeguard.TypeCheckError:
        fits = False
    assert (misfit(value, hint) is None) == fits


class Color(enum.Enum):
    RED = "red"


class Speaks(Protocol):
    def speak(self) -> None: ...


UserId = NewType("UserId", int)
T: Any = TypeVar("T")  # pyright: ignore


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (1, float),
        (1, complex),
        ((1, 2.5), tuple[float, ...]),
        (REQUIRED, int),
        (REQUIRED, Required[int]),
        ([REQUIRED], list[int]),
        (None, int | None),
        (Color.RED, Color),
        (jnp.bfloat16, jnp.dtype),
        (np.float32, np.dtype),
        (np.dtype("int8"), np.dtype),
        (jnp.float32, jnp.dtype | None),
        (1, Annotated[int, "metres"]),
        (3, UserId),
        ("anything", T),
        ([1, "x"], list[T]),
        (print, Callable[[int], str]),
        (int, type[T]),
        (bool, type[int]),
        (collections.Counter("ab"), collections.Counter[str]),
        ("no list", "an annotation that was never resolved"),
        (object(), Speaks),
        ({1: {"a": (1,)}}, dict[int, dict[str, tuple[int, ...]]]),
        ({1, 2}, set[int]),
        (frozenset({1}), collections.abc.Set[int]),
    ],
)
def test_what_fits(value, hint):
    assert misfit(value, hint) is None


@pytest.mark.parametrize(
    ("value", "hint", "element", "text"),
    [
        (True, int, "", "int"),
        (True, float, "", "float"),
        (True, int | float | None, "", "int | float | None"),
        ([1, True], list[int], "[1]", "int"),
        (1, bool, "", "bool"),
        (1, "int | None", None, ""),
        (float, np.dtype, "", "dtype"),
        ("float32", jnp.dtype, "", "dtype"),
        (True, Literal[1], "", "1"),
        (1.0, Literal[1, "a"], "", "1 | 'a'"),
        ("x", Annotated[int, "metres"], "", "int"),
        ("x", UserId, "", "UserId"),
        ((1,), tuple[int, int], "", "tuple[int, int]"),
        ((1, "a"), tuple[int, int], "[1]", "int"),
        ([1, "a"], list[int] | None, "[1]", "int"),
        ({"a": [1, None]}, dict[str, list[int]], "['a'][1]", "int"),
        ({1: 1}, dict[str, int], " key 1", "str"),
        ({"a"}, set[int], " element 'a'", "int"),
        (str, type[int], "", "type[int]"),
        (3, Callable[..., T], "", "function"),
        (3, InstantiableConfig[T], "", "InstantiableConfig[T]"),
        (3, Color, "", "Color"),
    ],
)
def test_what_does_not_fit_is_named_with_its_element(value, hint, element, text):
    wrong = misfit(value, hint)
    if element is None:
        assert wrong is None  # a string is not evaluated here
    else:
        assert wrong is not None
        assert (wrong.element, type_text(wrong.hint)) == (element, text)


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (int, "int"),
        (None, "None"),
        (Optional[int], "int | None"),  # noqa: UP045
        (Required[int], "int"),
        (tuple[str, ...], "tuple[str, ...]"),
        (dict[str, list[int | None]], "dict[str, list[int | None]]"),
        (typing.List[int], "list[int]"),  # noqa: UP006
        (Callable[[int], str], "function"),
        (Any, "Any"),
        (T, "T"),
    ],
)
def test_annotations_are_shown_as_a_person_writes_them(hint, text):
    assert type_text(hint) == text
