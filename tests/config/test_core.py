"""ConfigBase: typed, atomic, copied by value, frozen."""

import copy
import dataclasses
import pickle
import threading
from typing import Any

import cloudpickle
import pytest

from axl_exp.config import (
    REQUIRED,
    ConfigBase,
    Configurable,
    FrozenConfigError,
    InvalidConfigValueError,
    Required,
    RequiredFieldMissingError,
    UnknownFieldError,
    config_class,
    validate,
    written_by,
)


class Layer(Configurable):
    @config_class
    class Config(Configurable.Config):
        # Width.
        dim: Required[int] = REQUIRED
        eps: float = 1e-5
        axes: list[str] = ["data"]
        scales: dict[str, float] = {}


class Model(Configurable):
    @config_class
    class Config(Configurable.Config):
        layer: Layer.Config = Layer.default_config()
        extra: dict[str, Layer.Config] = {}
        stack: list[Layer.Config] = []
        name: Required[str] = REQUIRED


def test_set_returns_the_config_and_attributes_read_what_was_set():
    cfg = Layer.default_config()
    assert cfg.set(dim=8, eps=0.1) is cfg
    cfg.dim = 16
    assert (cfg.dim, cfg.eps) == (16, 0.1)


def test_keys_and_items_are_sorted():
    cfg = Layer.default_config().set(dim=1)
    assert cfg.keys() == ["axes", "dim", "eps", "klass", "scales"]
    assert [k for k, _ in cfg.items()] == cfg.keys()
    assert len(cfg) == 5 and "dim" in cfg and "set" not in cfg


def test_set_is_atomic():
    cfg = Layer.default_config()
    before = cfg.clone()
    for wrong in ({"dim": 5, "typo": 1}, {"dim": 5, "eps": "x"}, {"dim": 5, "axes": [1]}):
        with pytest.raises((UnknownFieldError, InvalidConfigValueError)):
            cfg.set(**wrong)
        assert cfg == before
        assert cfg.writes("dim") == ()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("dim", "8", "Layer.Config.dim: expected int, got str '8'"),
        ("dim", True, "Layer.Config.dim: expected int, got bool True"),
        ("dim", 1.0, "Layer.Config.dim: expected int, got float 1.0"),
        ("dim", None, "Layer.Config.dim: expected int, got NoneType None"),
        ("eps", "1e-5", "Layer.Config.eps: expected float, got str '1e-5'"),
        ("axes", ("a",), "Layer.Config.axes: expected list[str], got tuple ('a',)"),
        ("axes", ["a", 1], "Layer.Config.axes[1]: expected str, got int 1"),
        ("scales", {"a": "b"}, "Layer.Config.scales['a']: expected float, got str 'b'"),
        ("scales", {1: 0.5}, "Layer.Config.scales key 1: expected str, got int 1"),
    ],
)
def test_a_wrong_type_is_an_error_that_names_the_field_and_the_element(name, value, text):
    with pytest.raises(InvalidConfigValueError) as error:
        Layer.default_config().set(**{name: value})
    assert str(error.value) == text


def test_an_int_is_a_float_and_required_is_anything():
    cfg = Layer.default_config().set(eps=1, axes=REQUIRED)
    assert cfg.eps == 1 and cfg.axes is REQUIRED


@pytest.mark.parametrize(
    ("typo", "text"),
    [
        ("dmi", "Layer.Config has no field dmi (did you mean: [dim])"),
        ("ep", "Layer.Config has no field ep (did you mean: [eps])"),
        (
            "vocab",
            "Layer.Config has no field vocab (keys are ['axes', 'dim', 'eps', 'klass', 'scales'])",
        ),
    ],
)
def test_an_unknown_name_gets_the_nearest_one_wherever_it_is_used(typo, text):
    cfg = Layer.default_config()
    uses = (
        lambda: getattr(cfg, typo),
        lambda: setattr(cfg, typo, 1),
        lambda: cfg.set(**{typo: 1}),
        lambda: cfg.clone(**{typo: 1}),
        lambda: Layer.Config(**{typo: 1}),  # pyright: ignore
        lambda: cfg.writes(typo),
    )
    for use in uses:
        with pytest.raises(UnknownFieldError) as error:
            use()
        assert str(error.value) == text


def test_values_are_copied_on_the_way_in():
    axes, layer = ["a"], Layer.default_config().set(dim=1)
    cfg = Model.default_config().set(layer=layer, extra={"x": layer}, stack=[layer, layer])
    cfg.layer.axes = axes
    axes.append("b")
    layer.dim = 2
    assert cfg.layer.axes == ["a"]
    assert [cfg.layer.dim, cfg.extra["x"].dim, cfg.stack[0].dim, cfg.stack[1].dim] == [1, 1, 1, 1]
    assert cfg.stack[0] is not cfg.stack[1]


def test_a_config_can_be_set_inside_itself():
    @config_class
    class Node(ConfigBase):
        child: Any = None

    cfg = Node()
    cfg.child = cfg
    assert cfg.child is not cfg and cfg.child.child is None


def test_mutable_defaults_are_not_shared():
    one, two = Layer.default_config(), Layer.default_config()
    one.axes.append("x")
    Model.default_config().layer.dim = 3
    assert two.axes == Layer.default_config().axes == ["data"]
    assert Model.default_config().layer.dim is REQUIRED


def test_clone_copy_and_deepcopy_are_independent():
    cfg = Model.default_config().set(extra={"x": Layer.default_config()})
    for twin in (cfg.clone(), copy.copy(cfg), copy.deepcopy(cfg)):
        assert twin == cfg
        twin.extra["x"].dim = 5
        twin.layer.axes.append("z")
        twin.name = "twin"
        assert cfg.extra["x"].dim is REQUIRED
        assert cfg.layer.axes == ["data"]
        assert cfg.name is REQUIRED
    assert cfg.clone(name="b").name == "b"


def test_equality_is_by_class_and_value_and_configs_are_not_hashable():
    assert Layer.default_config() == Layer.default_config()
    assert Layer.default_config() != Layer.default_config().set(dim=1)
    assert Layer.Config() != Model.Config()
    with pytest.raises(TypeError, match="unhashable"):
        hash(Layer.default_config())


def test_nothing_can_be_set_on_required():
    cfg = Model.default_config().set(layer=REQUIRED)
    with pytest.raises(AttributeError) as error:
        cfg.layer.dim = 2
    assert "'dim'" in str(error.value) and "set that field first" in str(error.value)
    with pytest.raises(AttributeError, match="set it first"):
        _ = cfg.layer.dim
    assert not REQUIRED and repr(REQUIRED) == "REQUIRED"
    assert copy.deepcopy(REQUIRED) is REQUIRED and pickle.loads(pickle.dumps(REQUIRED)) is REQUIRED


def test_a_field_without_a_default_is_required():
    @config_class
    class Bare(ConfigBase):
        size: int

    assert Bare().size is REQUIRED  # pyright: ignore
    assert Bare(size=3).size == 3
    with pytest.raises(RequiredFieldMissingError, match="required field of Bare: size;"):
        validate(Bare())  # pyright: ignore


def test_validate_reports_every_required_field_with_its_full_path():
    cfg = Model.default_config().set(
        extra={"a": Layer.default_config()}, stack=[Layer.default_config()]
    )
    with pytest.raises(RequiredFieldMissingError) as error:
        validate(cfg)
    assert str(error.value) == (
        "Missing value for required fields of Model.Config: "
        "extra['a'].dim, layer.dim, name, stack[0].dim; "
        "set them in the recipe or with --config.<path>=<value>"
    )
    for layer in (cfg.layer, cfg.extra["a"], cfg.stack[0]):
        layer.dim = 1
    validate(cfg.set(name="m"))


def test_instantiate_reports_every_required_field_of_its_own():
    with pytest.raises(RequiredFieldMissingError) as error:
        Layer.Config().instantiate()
    assert str(error.value) == (
        "Missing value for required fields of Layer.Config: dim, klass; "
        "set them in the recipe or with --config.<path>=<value>"
    )


def test_validate_checks_what_was_changed_in_place():
    cfg = Model.default_config().set(name="m")
    cfg.layer.dim = 1
    cfg.layer.axes.append(3)
    with pytest.raises(InvalidConfigValueError) as error:
        validate(cfg)
    assert str(error.value) == "Layer.Config.axes[1]: expected str, got int 3"


def test_a_frozen_config_refuses_every_change_below_it():
    cfg = Model.default_config().set(
        extra={"a": Layer.default_config()}, stack=[Layer.default_config()]
    )
    twin = cfg.clone()
    assert cfg.freeze() is cfg and cfg == twin
    changes = (
        lambda: cfg.set(name="x"),
        lambda: setattr(cfg.layer, "dim", 1),
        lambda: cfg.layer.axes.append("x"),
        lambda: cfg.extra.update(b=1),
        lambda: cfg.extra.__setitem__("b", 1),
        lambda: setattr(cfg.extra["a"], "dim", 1),
        lambda: setattr(cfg.stack[0], "dim", 1),
        lambda: cfg.stack.sort(),
        lambda: cfg.set_recursively(["layer", "dim"], value=1),
        lambda: cfg.set_recursively(["extra", "a"], value=Layer.default_config()),
        lambda: cfg.layer.axes.__iadd__(["x"]),
    )
    for change in changes:
        with pytest.raises(FrozenConfigError, match=r"frozen; change a clone\(\)"):
            change()
    assert cfg == twin


def test_a_clone_of_a_frozen_config_is_free():
    cfg = Model.default_config().set(extra={"a": Layer.default_config()}).freeze()
    twin = cfg.clone(name="x")
    twin.extra["b"] = Layer.default_config()
    twin.layer.axes.append("y")
    twin.extra["a"].dim = 3
    assert cfg.extra.keys() == {"a"} and cfg.name is REQUIRED and cfg.layer.axes == ["data"]


def test_sets_freeze_too():
    @config_class
    class Tagged(ConfigBase):
        tags: set[str] = {"a"}

    cfg = Tagged().freeze()
    with pytest.raises(FrozenConfigError):
        cfg.tags.add("b")
    with pytest.raises(FrozenConfigError):
        cfg.tags |= {"b"}
    assert cfg.clone(tags={"b"}).tags == {"b"}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("library", [pickle, cloudpickle])
def test_pickled_configs_come_back_equal_with_their_history(library, frozen):
    cfg = Model.default_config().set(name="m", extra={"a": Layer.default_config()})
    cfg.layer.dim = 4
    cfg = cfg.freeze() if frozen else cfg
    twin = pickle.loads(library.dumps(cfg))
    assert twin == cfg
    assert twin.layer.writes("dim") == cfg.layer.writes("dim")
    if frozen:
        with pytest.raises(FrozenConfigError):
            twin.extra["b"] = 1
    else:
        twin.name = "n"


def test_a_list_that_contains_itself_is_refused():
    loop: list = []
    loop.append(loop)

    @config_class
    class Holder(ConfigBase):
        value: Any = None

    with pytest.raises(InvalidConfigValueError, match="Holder.value: the value contains itself"):
        Holder().set(value=loop)


def test_a_tree_of_two_hundred_levels_clones_freezes_and_prints():
    @config_class
    class Node(ConfigBase):
        child: Any = None
        x: int = 0

    cfg = Node()
    for _ in range(200):
        cfg = Node(child=cfg)
    twin = cfg.clone().freeze()
    assert twin == cfg
    assert twin.debug_string().count("x: 0") == 201


def test_a_class_cannot_be_changed_by_deleting_a_field():
    with pytest.raises(AttributeError, match="Cannot delete Layer.Config.eps"):
        del Layer.default_config().eps


def test_threads_have_their_own_writer():
    cfg = Layer.default_config()
    started, finish = threading.Event(), threading.Event()

    def other():
        with written_by("other thread"):
            started.set()
            assert finish.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    assert started.wait(10)
    cfg.dim = 1
    finish.set()
    thread.join()
    assert [w.by for w in cfg.writes("dim")] == ["recipe"]


def test_dataclasses_and_configs_hold_each_other():
    @dataclasses.dataclass(frozen=True)
    class Pair:
        left: Any
        right: Any = None

    @config_class
    class Holder(ConfigBase):
        pair: Pair | None = None

    layer = Layer.default_config().set(dim=1)
    cfg = Holder(pair=Pair(layer))
    layer.dim = 2
    assert cfg.pair.left.dim == 1  # pyright: ignore
