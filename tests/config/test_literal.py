"""The values of flat text: what every kind of leaf looks like."""

import collections
import dataclasses
import enum
import functools
import re
from pathlib import PurePosixPath

import attr
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from axl_exp.config import REQUIRED, ConfigBase
from axl_exp.config.describe import UnprintableValueError
from axl_exp.config.literal import format_value

HERE = __name__


class Colour(enum.Enum):
    RED = 1


class Word(enum.StrEnum):
    YES = "yes"


class Switch(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass(frozen=True)
class Policy:
    every: int
    names: tuple = ()


@attr.s(auto_attribs=True)
class Limit:
    most: float


Pair = collections.namedtuple("Pair", "left right")


class Thing:
    def method(self):
        """Does nothing."""

    @classmethod
    def make(cls):
        return cls()


def schedule(step, *, peak=1.0):
    return peak * step


def outer():
    return lambda step: step


def capture(rate):
    return lambda step: step * rate


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        (-3, "-3"),
        (2**70, "1180591620717411303424"),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (1e-5, "1e-05"),
        (0.1, "0.1"),
        (1e16, "1e+16"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (float("nan"), "nan"),
        ("plain", '"plain"'),
        ('é "\n\x7f\x1b\u2028', r'"\u00e9 \"\n\u007f\u001b\u2028"'),
        (b'a"\\\x00', r'b"a\x22\x5c\x00"'),
        (REQUIRED, "REQUIRED"),
        ([], "[]"),
        ((), "()"),
        ({}, "{}"),
        (set(), "set()"),
        (frozenset(), "frozenset()"),
        ([1, [2.0]], "[1, [2.0]]"),
        ((1,), "(1,)"),
        ((1, "a"), '(1, "a")'),
        ({10, 9, 1}, "{1, 9, 10}"),
        ({"b", 2, None, "a", (1,)}, '{2, "a", "b", (1,), None}'),
        (frozenset({"x"}), 'frozenset({"x"})'),
        (Colour.RED, f"@{HERE}:Colour.RED"),
        (Word.YES, f"@{HERE}:Word.YES"),
        (Switch.A | Switch.B, f"@{HERE}:Switch.A|B"),
        (Thing, f"@{HERE}:Thing"),
        (Thing.method, f"@{HERE}:Thing.method"),
        (Thing.make, f"@{HERE}:Thing.make"),
        (schedule, f"@{HERE}:schedule"),
        (outer(), f"@{HERE}:outer.<locals>.<lambda>"),
        (len, "@builtins:len"),
        (str.lower, "@builtins:str.lower"),
        (int, "@builtins:int"),
        (re.compile('a.*"'), r'regex("a.*\"")'),
        (re.compile("a", re.I | re.M), 'regex("a", flags="im")'),
        (re.compile(b"a"), 'regex(b"a")'),
        (PurePosixPath("a/b"), 'path("a/b")'),
        (range(3), "range(0, 3, 1)"),
        (1 + 2j, "complex(1.0, 2.0)"),
        (Policy(every=5, names=("a",)), f'@{HERE}:Policy(every=5, names=("a",))'),
        (Limit(most=1.0), f"@{HERE}:Limit(most=1.0)"),
        (Pair(1, {"k": 2}), f'@{HERE}:Pair(left=1, right={{"k": 2}})'),
        (functools.partial(schedule, 3, peak=2.0), f"partial(@{HERE}:schedule, 3, peak=2.0)"),
    ],
)
def test_each_kind_of_value_has_one_text(value, text):
    assert format_value(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (jnp.bfloat16, 'dtype("bfloat16")'),
        (np.dtype("bfloat16"), 'dtype("bfloat16")'),
        (ml_dtypes.bfloat16, 'dtype("bfloat16")'),
        (jnp.float32, 'dtype("float32")'),
        (np.float32, 'dtype("float32")'),
        (np.dtype("float32"), 'dtype("float32")'),
        (jnp.bool_, 'dtype("bool")'),
        (jnp.float8_e4m3fn, 'dtype("float8_e4m3fn")'),
        (np.floating, "@numpy:floating"),
        (np.float32(0.5), "0.5"),
        (np.float64(0.1), "0.1"),
        (np.int64(3), "3"),
        (np.bool_(True), "True"),
        (np.str_("a"), '"a"'),
        (ml_dtypes.bfloat16(1.5), "1.5"),
        (PartitionSpec("data", None, ("fsdp", "seq")), 'P("data", None, ("fsdp", "seq"))'),
        (PartitionSpec(), "P()"),
        (
            PartitionSpec("a", unreduced=frozenset({"b"})),
            'P("a", unreduced=frozenset({"b"}))',
        ),
        (
            PartitionSpec(PartitionSpec.UNCONSTRAINED),
            "P(@jax.sharding:PartitionSpec.UNCONSTRAINED)",
        ),
        (jax.lax.Precision.HIGHEST, "@jax.lax:Precision.HIGHEST"),
    ],
)
def test_what_numpy_and_jax_make_has_the_same_text_in_all_their_versions(value, text):
    assert format_value(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (jax.nn.silu, "@jax.nn:silu"),
        (jax.nn.relu, "@jax.nn:relu"),
        (jnp.add, "@jax.numpy:add"),
        (jax.checkpoint_policies.nothing_saveable, "@jax:checkpoint_policies.nothing_saveable"),
        (optax.adamw, "@optax:adamw"),
    ],
)
def test_what_a_library_defines_in_a_private_module_is_named_by_the_public_one(value, text):
    assert any(part.startswith("_") for part in value.__module__.split(".")) or value is jnp.add
    assert format_value(value) == text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            capture(3),
            "cannot print the function capture.<locals>.<lambda>: it captured rate, whose values "
            "its name would hide; use config_for_function or functools.partial with them as "
            "arguments",
        ),
        (
            Thing().method,
            "cannot print a builtins.method: its text would hold an address or hide its state; "
            "use a config, a dataclass or plain values, and build the object where it is used",
        ),
        (Thing(), f"cannot print a {HERE}.Thing: its text would hold an address"),
        (np.zeros(2), "cannot print a numpy.ndarray: "),
        (jnp.zeros(2), "cannot print a jax"),
        (jax.jit(schedule), "cannot print a jaxlib"),
        (
            np.dtype(">i4"),
            "cannot print the dtype >i4: only native numeric dtypes have a name that means the "
            "same everywhere; use one of them",
        ),
        ({ConfigBase}, None),
        (functools.partial(schedule, **{"not a name": 1}), "the argument name 'not a name' is no"),
    ],
)
def test_a_value_that_its_text_would_not_tell_whole_is_refused(value, message):
    if message is None:
        assert format_value(value) == "{@axl_exp.config.core:ConfigBase}"
        return
    with pytest.raises(UnprintableValueError, match=re.escape(message)):
        format_value(value)
