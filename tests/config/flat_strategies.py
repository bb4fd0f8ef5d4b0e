"""Arbitrary configs, for the properties of flat text: every kind of leaf and of node, nested."""

import enum
import re
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import jax.numpy as jnp
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from jax.sharding import PartitionSpec

from axl_exp.config import REQUIRED, ConfigBase, Configurable, config_class


class Colour(enum.Enum):
    RED = 1
    BLUE = "blue"


@dataclass(frozen=True)
class Policy:
    every: Any
    names: Any = ()


def schedule(step, peak):
    """A function to name."""


@config_class
class Node(ConfigBase):
    """A plain config."""

    name: str | None = None
    a: Any = None
    ab: Any = 1
    b: Any = REQUIRED


class Layer(Configurable):
    """A configurable, whose config names its class."""

    @config_class
    class Config(Configurable.Config):
        """Its config."""

        name: str | None = None
        a: Any = None
        children: Any = ()


@config_class
class Empty(ConfigBase):
    """A config without fields."""


# Without a deadline: the machine may be busy.
property_settings = settings(max_examples=30, deadline=None)

# Long enough to leave one line, and full of what the format itself uses.
hostile = st.sampled_from(
    ["a: b -> c", "\n# no comment", '"]', "]", "\\", "é\u2028\x85\x7f", "list of 2", "x" * 60, ""]
)
names = st.one_of(st.sampled_from(["a", "b", "ab"]), hostile, st.text(max_size=5))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    names,
    st.binary(max_size=4),
    st.sampled_from(
        [
            REQUIRED,
            Colour.RED,
            Colour.BLUE,
            Policy,
            schedule,
            jnp.bfloat16,
            np.dtype("int8"),
            np.float32(0.1),
            PartitionSpec("data", None, ("fsdp", "seq")),
            re.compile("a|b", re.I),
            PurePosixPath("/a b"),
            range(2),
        ]
    ),
)
keys = st.one_of(names, st.integers(-3, 3), st.tuples(names), st.sampled_from(Colour))
flat_sets = st.sets(st.one_of(st.integers(), names, st.none()), max_size=3)


def _extend(values: st.SearchStrategy) -> st.SearchStrategy:
    maybe_name = st.one_of(st.none(), names)
    items = st.lists(values, max_size=4)
    table = st.lists(st.tuples(names, values), max_size=4)
    configs = st.lists(
        st.builds(lambda n, a: Layer.default_config().set(name=n, a=a), names, values), max_size=4
    )
    return st.one_of(
        items,
        items.map(tuple),
        table,
        table.map(tuple),
        configs,
        configs.map(tuple),
        st.dictionaries(keys, values, max_size=4),
        st.builds(Node, name=maybe_name, a=values, ab=values),
        st.builds(lambda a, c: Layer.default_config().set(a=a, children=c), values, items),
        st.just(Empty()),
    )


leaves = st.one_of(
    scalars,
    flat_sets,
    flat_sets.map(frozenset),
    st.builds(Policy, every=scalars, names=st.lists(scalars, max_size=2).map(tuple)),
    st.builds(lambda a, b: partial(schedule, a, peak=b), scalars, scalars),
)
values = st.recursive(leaves, _extend, max_leaves=12)
configs = st.builds(Node, a=values, ab=values, b=values)


@st.composite
def edited(draw: st.DrawFn) -> tuple[ConfigBase, ConfigBase]:
    """Two configs that share much: parts of the one stand elsewhere, or changed, in the other."""
    parts = draw(st.lists(values, min_size=2, max_size=4))
    part = st.one_of(st.sampled_from(parts), values)
    pair = st.builds(Node, a=part, ab=part, b=part)
    shuffled = st.permutations(parts).map(lambda p: Node(a=list(p), b={"k": p[0], "l": p[-1]}))
    table = st.permutations(list(enumerate(parts))).map(
        lambda p: Node(a=[(f"item {i}", Node(a=v)) for i, v in p])
    )
    renamed = st.permutations(list(enumerate(parts))).map(
        lambda p: Node(a=[Layer.default_config().set(name=f"n{i}", a=v) for i, v in p[1:]])
    )
    either = st.one_of(pair, shuffled, table, renamed)
    return draw(either), draw(either)
