"""Configs that make things."""

import functools
import math
import pickle
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax
import pytest
import wrapt

from axl_exp.config import (
    REQUIRED,
    ClassConfigBase,
    ConfigModifier,
    ConfigOr,
    Configurable,
    FunctionConfigBase,
    InstantiableConfig,
    InvalidConfigNameError,
    InvalidConfigValueError,
    Required,
    RequiredFieldMissingError,
    UnknownFieldError,
    config_class,
    config_for_class,
    config_for_function,
    config_for_partial_function,
    maybe_instantiate,
    maybe_set_config,
)


class Dense(Configurable):
    @config_class
    class Config(Configurable.Config):
        bias: bool = False
        gain: Required[float] = REQUIRED

    def __init__(self, cfg: Config, *, input_dim: int = 0):
        super().__init__(cfg)
        self.input_dim = input_dim


def linear(x: float, slope: float = 2.0, *, offset: ConfigOr[float] = 0.0) -> float:
    return slope * x + maybe_instantiate(offset)


def gather(first, /, second, *rest, last=0, **named):
    return first, second, rest, last, named


def test_a_config_makes_its_class_and_passes_on_what_is_no_part_of_it():
    cfg = Dense.default_config().set(gain=1.5)
    layer = cfg.instantiate(input_dim=8)
    assert type(layer) is Dense and layer.input_dim == 8
    cfg.gain = 2.0
    assert layer.config.gain == 1.5
    layer.config.gain = 3.0
    assert layer.config.gain == 1.5


def test_a_subclass_makes_itself():
    class Wide(Dense):
        pass

    assert type(Wide.default_config().set(gain=1.0).instantiate()) is Wide


def test_a_class_that_keeps_no_config_still_prints():
    class Bare(Configurable):
        def __init__(self, cfg):
            pass

    assert "Bare object" in repr(Bare.default_config().instantiate())
    assert "gain:1.0" in repr(Dense.default_config().set(gain=1.0).instantiate())


def test_the_parameters_of_a_function_are_fields():
    cfg = config_for_function(linear)
    assert isinstance(cfg, FunctionConfigBase) and isinstance(cfg, InstantiableConfig)
    assert cfg.items() == [("fn", linear), ("offset", 0.0), ("slope", 2.0), ("x", REQUIRED)]
    assert cfg.set(x=3).instantiate() == 6.0
    assert cfg.instantiate(x=1, slope=5.0) == 5.0
    assert (cfg.x, cfg.slope) == (3, 2.0)


def test_the_parameters_of_a_function_are_typed():
    cfg = config_for_function(linear)
    with pytest.raises(InvalidConfigValueError) as error:
        cfg.x = "three"
    assert str(error.value) == (
        "config_for_function(tests.config.test_instantiable.linear).x: "
        "expected float, got str 'three'"
    )
    with pytest.raises(UnknownFieldError, match=r"did you mean: \[slope\]"):
        cfg.set(slop=1.0)


def test_a_parameter_may_be_given_as_a_config_of_its_value():
    inner = config_for_function(linear).set(x=1.0)
    assert config_for_function(linear).set(x=1.0, offset=inner).instantiate() == 4.0
    with pytest.raises(InvalidConfigValueError, match=r"\.x: expected float, got"):
        config_for_function(linear).set(x=inner)


def test_all_missing_parameters_are_reported_at_once():
    with pytest.raises(RequiredFieldMissingError) as error:
        config_for_function(gather).instantiate()
    assert str(error.value) == (
        "Missing value for required fields of "
        "config_for_function(tests.config.test_instantiable.gather): first, second; "
        "set them in the recipe or with --config.<path>=<value>"
    )


def test_every_kind_of_parameter_is_passed_as_the_function_takes_it():
    cfg = config_for_function(gather).set(first=1, second=2)
    assert cfg.instantiate() == (1, 2, (), 0, {})
    cfg.set(rest=[3, 4], last=5, named={"a": 6})
    assert cfg.instantiate() == (1, 2, (3, 4), 5, {"a": 6})
    assert cfg.instantiate(a=7, b=8, second=9) == (1, 9, (3, 4), 5, {"a": 7, "b": 8})


def test_builtins_and_positional_only_functions_work():
    assert config_for_function(math.pow).set(x=2, y=3).instantiate() == 8.0
    assert config_for_function(pow).set(base=2, exp=3).instantiate() == 8


def test_a_class_is_made_from_the_parameters_of_its_init():
    @dataclass
    class Size:
        width: int
        height: int = 2

    cfg = config_for_class(Size).set(width=1)
    assert isinstance(cfg, ClassConfigBase) and cfg.klass is Size
    assert cfg.instantiate() == Size(1, 2)
    assert cfg.instantiate(height=5) == Size(1, 5)
    pair = namedtuple("pair", ["left", "right"], defaults=[0])
    assert config_for_class(pair).set(left=1).instantiate() == pair(1, 0)


def test_a_partial_function_can_be_configured():
    cfg = config_for_partial_function(linear, 3.0, slope=1.0)
    assert cfg.instantiate()() == 3.0
    assert isinstance(cfg.instantiate(), functools.partial)


def test_values_that_no_config_can_hold_come_with_instantiate():
    def dot(weights: np.ndarray, scale: float) -> float:
        return float(scale * weights.sum())

    cfg = config_for_function(dot).set(scale=2.0)
    assert cfg.instantiate(weights=np.ones(3)) == 6.0
    with pytest.raises(RequiredFieldMissingError, match="weights"):
        cfg.instantiate()


def test_jax_functions_and_library_functions_can_be_configured():
    assert config_for_function(jax.nn.silu).set(x=0.0).instantiate() == 0.0
    optimizer = config_for_function(optax.adamw).set(learning_rate=1e-3).instantiate()
    assert isinstance(optimizer, optax.GradientTransformation)


def test_proxies_of_functions_can_be_configured_and_copied():
    @wrapt.decorator
    def plain(wrapped, instance, args, kwargs):
        return wrapped(*args, **kwargs)

    cfg = config_for_function(plain(linear)).set(x=1.0).clone()
    assert cfg.instantiate() == 2.0


def test_bound_methods_can_be_configured():
    class Maker:
        @classmethod
        def make(cls, size: int):
            return cls, size

    assert config_for_function(Maker.make).set(size=3).instantiate() == (Maker, 3)


def test_two_configs_of_the_same_function_are_equal():
    assert config_for_function(linear) == config_for_function(linear)
    assert config_for_function(linear) != config_for_function(linear).set(x=1.0)
    assert config_for_function(linear) != config_for_function(pow)
    assert config_for_class(Dense) == config_for_class(Dense)
    assert config_for_class(Dense) != config_for_function(Dense)


def test_configs_of_functions_and_classes_can_be_pickled():
    for cfg in (
        config_for_function(linear).set(x=1.0),
        config_for_class(Dense).set(input_dim=3).freeze(),
        config_for_function(linear).set(offset=config_for_function(linear).set(x=1.0)),
        Dense.default_config().set(gain=1.0),
    ):
        twin = pickle.loads(pickle.dumps(cfg))
        assert twin == cfg and type(twin) is type(cfg)
        target = "fn" if "fn" in cfg else "klass"
        assert twin.writes(target) == cfg.writes(target) != ()


def test_annotations_of_libraries_that_their_defaults_break_are_not_enforced():
    def loose(a: int = None, b: list[int] = (), c: "Ghost" = 1):  # pyright: ignore # noqa: F821
        return a, b, c

    cfg = config_for_function(loose)
    assert cfg.instantiate() == (None, (), 1)
    assert cfg.set(a=None, b=(1, 2), c="x").instantiate() == (None, (1, 2), "x")
    with pytest.raises(InvalidConfigValueError, match=r"expected int \| None, got str"):
        cfg.set(a="x")


@pytest.mark.parametrize(
    ("fn", "text"),
    [
        (lambda fn: fn, "its 'fn' parameter cannot become a config field; rename it, or wrap"),
        (lambda _x: _x, "its '_x' parameter cannot become a config field; rename it, or wrap"),
        (lambda N: N, "invalid field name 'N'; write it in lower_snake_case"),
        (lambda items: items, "a field cannot be called 'items', since configs have a method"),
    ],
)
def test_a_parameter_that_cannot_be_a_field_says_so(fn, text):
    with pytest.raises(InvalidConfigNameError) as error:
        config_for_function(fn)
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("fn", "text"),
    [
        (functools.partial(linear, 1.0), "config_for_function needs something that has a name"),
        (max, "has no signature to make fields of"),
        (3, "int 3 has no signature to make fields of"),
    ],
)
def test_what_is_no_function_with_a_signature_says_so(fn, text):
    with pytest.raises(InvalidConfigValueError) as error:
        config_for_function(fn)
    assert text in str(error.value)


def test_maybe_instantiate_and_maybe_set_config():
    assert maybe_instantiate(3) == 3
    assert maybe_instantiate(config_for_function(linear), x=1.0) == 2.0
    cfg = Dense.default_config()
    assert maybe_set_config(cfg, bias=True, typo=1) is cfg
    assert cfg.bias is True


def test_a_modifier_is_made_from_a_config_and_returns_a_changed_copy():
    class SetGain(ConfigModifier):
        @config_class
        class Config(ConfigModifier.Config):
            gain: Required[float] = REQUIRED

        def __call__(self, cfg: Any) -> Any:
            return cfg.clone(gain=self.config.gain)

    before = Dense.default_config()
    after = SetGain.default_config().set(gain=2.0).instantiate()(before)
    assert after.gain == 2.0 and before.gain is REQUIRED
    with pytest.raises(NotImplementedError):
        ConfigModifier.default_config().instantiate()(before)
