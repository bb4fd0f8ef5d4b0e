"""`@config_class`: what a class may declare, and what it says where it may not."""

import importlib.util
import sys
from typing import Generic, TypeVar

import attr
import pytest

from axl_exp.config import (
    REQUIRED,
    ConfigBase,
    Configurable,
    InvalidConfigClassError,
    InvalidConfigNameError,
    InvalidConfigValueError,
    MissingConfigClassDecoratorError,
    NonConfigFieldError,
    Required,
    config_class,
)


class Layer(Configurable):
    @config_class
    class Config(Configurable.Config):
        # Width.
        dim: Required[int] = REQUIRED
        eps: float = 1e-5
        axes: list[str] = ["data"]
        scales: dict[str, float] = {}


def test_fields_are_inherited_and_can_be_redefined():
    class Wide(Layer):
        @config_class
        class Config(Layer.Config):
            dim: int = 64
            gain: float = 1.0

    cfg = Wide.default_config()
    assert isinstance(cfg, Layer.Config) and cfg.klass is Wide
    assert (cfg.dim, cfg.gain, cfg.eps) == (64, 1.0, 1e-5)
    assert Layer.default_config().dim is REQUIRED
    assert attr.fields_dict(type(cfg))["dim"].default == 64


def test_a_diamond_takes_the_default_of_the_nearest_base():
    @config_class
    class Top(ConfigBase):
        x: int = 0

    @config_class
    class Left(Top):
        pass

    @config_class
    class Right(Top):
        x: int = 2

    @config_class
    class Bottom(Left, Right):
        pass

    assert Bottom().x == 2  # as Python's method resolution order has it


def test_generic_configs_take_type_arguments():
    item = TypeVar("item")

    @config_class
    class Box(ConfigBase, Generic[item]):
        content: item | None = None
        many: list[item] = []

    @config_class
    class Shelf(ConfigBase):
        box: Box[int] = Box()

    assert Shelf().set(box=Box(content="anything", many=[1, "a"])).box.content == "anything"
    with pytest.raises(InvalidConfigValueError, match="expected Box\\[int\\], got Shelf"):
        Shelf().set(box=Shelf())


def test_string_annotations_are_resolved_where_they_were_written(tmp_path):
    path = tmp_path / "user_module.py"
    path.write_text(
        "from __future__ import annotations\n"
        "from typing import TYPE_CHECKING\n"
        "from axl_exp.config import *\n"
        "if TYPE_CHECKING:\n"
        "    from nowhere import Ghost\n"
        "class Late: pass\n"
        "class Layer(Configurable):\n"
        "    class Mode: pass\n"
        "    @config_class\n"
        "    class Config(Configurable.Config):\n"
        "        dims: tuple[int, ...] = (1,)\n"
        "        mode: Mode | None = None\n"
        "        late: type[Later] | None = None\n"
        "        twin: Layer.Config | None = None\n"
        "        ghost: Ghost | None = None\n"
        "class Later(Late): pass\n"
    )
    spec = importlib.util.spec_from_file_location("user_module", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "user_module", module)
        spec.loader.exec_module(module)
        cfg = module.Layer.default_config()
        for wrong in ({"dims": (1.5,)}, {"mode": 3}, {"late": module.Late}, {"twin": 1}):
            with pytest.raises(InvalidConfigValueError):
                cfg.set(**wrong)
        cfg.set(dims=(2, 3), late=module.Later, twin=module.Layer.default_config())
        cfg.set(ghost="whatever")  # a name that is not there at run time checks nothing


def test_a_default_must_have_the_type_of_its_field():
    @config_class
    class Wrong(ConfigBase):
        num_layers: int = "three"  # pyright: ignore

    with pytest.raises(InvalidConfigValueError) as error:
        Wrong()
    assert str(error.value) == "Wrong.num_layers: expected int, got str 'three'"


def test_a_class_without_the_decorator_says_so():
    class Bare(ConfigBase):
        x: int = 1

    class Child(Layer.Config):
        y: int = 1

    for cls in (Bare, Child):
        with pytest.raises(MissingConfigClassDecoratorError, match="write @config_class above"):
            cls()


def test_what_is_no_config_class_says_so():
    with pytest.raises(InvalidConfigClassError, match="needs a subclass of ConfigBase; Plain"):

        @config_class
        class Plain:
            x: int = 1


@pytest.mark.parametrize("name", ["_x", "Dim", "dimLayer", "1x"])
def test_field_names_are_lower_snake_case(name):
    with pytest.raises(InvalidConfigNameError, match="write it in lower_snake_case"):
        config_class(type("Config", (ConfigBase,), {"__annotations__": {name: int}, name: 1}))


@pytest.mark.parametrize("name", ["set", "items", "freeze", "instantiate"])
def test_a_field_cannot_hide_a_method(name):
    with pytest.raises(InvalidConfigNameError, match=f"cannot be called '{name}'"):
        config_class(
            type("Config", (Configurable.Config,), {"__annotations__": {name: int}, name: 1})
        )


def test_an_attribute_without_annotation_is_an_error_and_a_method_is_none():
    def outside(self):
        return self

    for value in (10, outside, lambda self: self, object()):
        with pytest.raises(NonConfigFieldError, match="x has no annotation"):
            config_class(type("Config", (ConfigBase,), {"x": value}))

    @config_class
    class Fine(ConfigBase):
        x: int = 1

        def double(self) -> int:
            return 2 * self.x

        @property
        def half(self) -> float:
            return self.x / 2

    assert Fine(x=4).double() == 8 and Fine(x=4).half == 2


def test_a_subclass_may_override_set_without_recursion():
    @config_class
    class Derived(ConfigBase):
        x: int = 1
        double: int = 2

        def set(self, **kwargs):
            super().set(**kwargs)
            self.double = 2 * self.x
            return self

    assert Derived().set(x=4).double == 8
    assert Derived().clone(x=5).double == 10
