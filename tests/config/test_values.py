"""What a config can hold, and how it is copied."""

import collections
import copy
import dataclasses
import enum
import functools
import pathlib
import re
from typing import Any, NamedTuple

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import wrapt
from jax.sharding import Mesh, PartitionSpec

from axl_exp.config import ConfigBase, InvalidConfigValueError, config_class, register_validator
from axl_exp.config import values as config_values


class Color(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Point:
    x: Any = 0


@attrs.define
class Size:
    width: Any = 0


class Span(NamedTuple):
    start: Any
    stop: Any = None


@config_class
class Holder(ConfigBase):
    value: Any = None


@jax.custom_jvp
def custom(x):
    return x


@wrapt.decorator
def proxied(wrapped, instance, args, kwargs):
    return wrapped(*args, **kwargs)


@proxied
def proxy(x):
    return x


SHARED = [
    *(None, True, 3, 0.5, 1j, "text", b"bytes", range(3), Color.RED, re.compile("a+")),
    *(
        PartitionSpec("data", None),
        pathlib.PurePosixPath("a/b"),
        print,
        len,
        str,
        Point,
        Color,
        proxy,
        dict.fromkeys,
    ),
    *(np.float32, np.dtype("int8"), np.float64(0.5), jnp.bfloat16, jnp.dtype("bfloat16")),
    *(jax.nn.silu, jax.nn.relu, jnp.tanh, custom, jax.jit(jnp.sin), np.add),
]
COPIED = [
    [1, [2]],
    {"a": {"b": 1}},
    {1, 2},
    Point([1]),
    Size([1]),
    collections.OrderedDict(a=[1]),
    collections.defaultdict(list, a=[1]),
    Holder(value=[1]),
]
EQUAL = [
    (1, (2,)),
    Span([1]),
    functools.partial(max, 3, key=abs),
]


@pytest.mark.parametrize("value", SHARED)
def test_values_that_cannot_change_are_held_as_they_are(value):
    cfg = Holder(value=value)
    assert cfg.value is value
    assert copy.deepcopy(cfg).value is value


@pytest.mark.parametrize("value", COPIED)
def test_values_that_can_change_are_copied_to_the_same_type(value):
    held = Holder(value=value).value
    assert held == value and held is not value and type(held) is type(value)


@pytest.mark.parametrize("value", EQUAL)
def test_values_made_of_parts_keep_their_type(value):
    held = Holder(value=value).value
    assert type(held) is type(value)
    assert repr(held) == repr(value)


def test_copies_share_nothing_that_can_change():
    inner = [1]
    for value in ([inner], (inner,), {"a": inner}, Point(inner), Size(inner), Span(inner)):
        cfg = Holder(value=value)
        inner.append(2)
        assert "2" not in repr(cfg.value)
        inner.pop()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (object(), "a config cannot hold object <object"),
        (np.zeros(2), "a config cannot hold ndarray array([0., 0.]);"),
        ([1, {"a": object()}], "a config cannot hold object"),
        (Point(object()), "a config cannot hold object"),
        (Size(object()), "a config cannot hold object"),
        (functools.partial(max, object()), "a config cannot hold object"),
        (iter([1]), "a config cannot hold list_iterator"),
        (Mesh(np.array(jax.devices()[:1]), ("x",)), "a config cannot hold Mesh"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_objects_that_no_text_can_stand_for_are_refused(value, text):
    with pytest.raises(InvalidConfigValueError) as error:
        Holder(value=value)
    assert str(error.value).startswith(f"Holder.value: {text}")
    assert "build objects in the code that the config instantiates" in str(error.value)


def test_jax_arrays_are_refused():
    with pytest.raises(InvalidConfigValueError, match="a config cannot hold"):
        Holder(value=jnp.zeros(2))


def test_long_values_are_shortened_in_messages():
    with pytest.raises(InvalidConfigValueError) as error:
        Holder(value=np.arange(900))
    assert "array([ 0, 1," in str(error.value) and len(str(error.value)) < 250


def test_a_validator_can_be_registered_for_a_kind_of_ones_own(monkeypatch):
    monkeypatch.setattr(config_values, "_REGISTERED", [])

    class Money:
        def __init__(self, amount: int):
            self.amount = amount

    def not_negative(money: Money) -> None:
        if money.amount < 0:
            raise InvalidConfigValueError("an amount is never negative")

    with pytest.raises(InvalidConfigValueError, match="cannot hold Money"):
        Holder(value=Money(1))
    register_validator(match_fn=lambda v: isinstance(v, Money), validate_fn=not_negative)
    assert Holder(value=[Money(1)]).value[0].amount == 1
    with pytest.raises(InvalidConfigValueError, match="Holder.value: an amount is never negative"):
        Holder(value=Money(-1))
