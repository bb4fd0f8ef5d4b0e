"""Who set a field, where, and what it was before."""

import sys
from typing import Any

import pytest

from axl_exp.config import (
    REQUIRED,
    ConfigBase,
    ConfigModifier,
    Configurable,
    Override,
    Required,
    UnknownFieldError,
    Write,
    apply_overrides,
    config_class,
    config_for_function,
    history,
    leaf_writers,
    written_by,
)
from axl_exp.config.text import flatten

HERE = "tests/config/test_provenance.py"


def line() -> int:
    """The line that calls."""
    return sys._getframe(1).f_lineno


class Layer(Configurable):
    @config_class
    class Config(Configurable.Config):
        dim: Required[int] = REQUIRED
        eps: float = 1e-5
        axes: list[str] = ["data"]


class Model(Configurable):
    @config_class
    class Config(Configurable.Config):
        layer: Layer.Config = Layer.default_config()
        evalers: dict[str, Any] = {}


def told(writes) -> list[tuple]:
    return [(w.by, w.where, w.value) for w in writes]


def test_a_write_knows_its_writer_its_line_and_its_value():
    cfg = Layer.default_config()
    assert cfg.writes("dim") == ()
    cfg.dim = 8; first = line()  # fmt: skip  # noqa: E702
    cfg.set(dim=16, eps=0.1); second = line()  # fmt: skip  # noqa: E702
    with written_by("mesh rule cpu-1", where="mesh_rules/cpu.py:3"):
        cfg.set_recursively(["dim"], value=32)
    with written_by("tuner"):
        cfg = cfg.clone(dim=64); third = line()  # fmt: skip  # noqa: E702
    assert told(cfg.writes("dim")) == [
        ("recipe", f"{HERE}:{first}", 8),
        ("recipe", f"{HERE}:{second}", 16),
        ("mesh rule cpu-1", "mesh_rules/cpu.py:3", 32),
        ("tuner", f"{HERE}:{third}", 64),
    ]
    assert [w.before for w in cfg.writes("dim")] == [REQUIRED, 8, 16, 32]
    assert told(cfg.writes("eps")) == [("recipe", f"{HERE}:{second}", 0.1)]


def test_making_a_config_counts_as_writing_where_it_is_made():
    cfg = Layer.Config(dim=3); made = line()  # fmt: skip  # noqa: E702
    assert told(cfg.writes("dim")) == [("recipe", f"{HERE}:{made}", 3)]
    cfg = config_for_function(pow); made = line()  # fmt: skip  # noqa: E702
    assert told(cfg.writes("fn")) == [("recipe", f"{HERE}:{made}", pow)]


def test_what_the_body_of_a_class_sets_is_a_default():
    class Tower(Configurable):
        @config_class
        class Config(Configurable.Config):
            layer: Layer.Config = Layer.default_config().set(dim=7)

        made = line() - 2

    (write,) = Tower.default_config().layer.writes("dim")
    assert (write.by, write.where, write.value) == ("default", f"{HERE}:{Tower.made}", 7)


def test_the_past_goes_with_a_copy_and_the_future_does_not():
    cfg = Layer.default_config().set(dim=1)
    twin = cfg.clone()
    twin.dim = 2
    holder = Model.default_config().set(layer=twin)
    assert [w.value for w in cfg.writes("dim")] == [1]
    assert [w.value for w in holder.layer.writes("dim")] == [1, 2]


def test_writers_nest_and_end():
    cfg = Layer.default_config()
    with written_by("outer"):
        with written_by("inner"):
            cfg.dim = 1
        cfg.dim = 2
    cfg.dim = 3
    assert [w.by for w in cfg.writes("dim")] == ["inner", "outer", "recipe"]


def test_a_modifier_is_found_at_its_line():
    class WidenLayers(ConfigModifier):
        def __call__(self, cfg):
            cfg = cfg.clone()
            cfg.layer.dim = 99; self.line = line()  # fmt: skip  # noqa: E702
            return cfg

    before = Model.default_config()
    modifier = WidenLayers.default_config().instantiate()
    after = modifier(before)
    assert told(after.layer.writes("dim")) == [("recipe", f"{HERE}:{modifier.line}", 99)]
    assert before.layer.dim is REQUIRED


@pytest.mark.parametrize(
    "change",
    [
        lambda cfg: cfg.axes.append("x"),
        lambda cfg: cfg.axes.clear(),
        lambda cfg: cfg.axes.__setitem__(0, "x"),
    ],
)
def test_a_container_changed_in_place_is_noticed(change):
    cfg = Layer.default_config()
    change(cfg)
    for noticed in (cfg.writes("axes"), cfg.clone().writes("axes"), cfg.freeze().writes("axes")):
        assert told(noticed) == [("changed in place", "", cfg.axes)]
    cfg = cfg.clone(axes=["z"])
    assert [w.by for w in cfg.writes("axes")] == ["changed in place", "recipe"]
    change(cfg)
    assert [w.by for w in cfg.writes("axes")][1:] == ["recipe", "changed in place"]


def test_a_config_added_in_place_is_noticed_but_not_a_write_to_one_that_was_there():
    cfg = Model.default_config().set(evalers={"a": Layer.default_config()})
    cfg.evalers["a"].dim = 5
    assert [w.by for w in cfg.writes("evalers")] == ["recipe"]
    cfg.evalers["b"] = Layer.default_config()
    assert [w.by for w in cfg.writes("evalers")] == ["recipe", "changed in place"]


def test_history_tells_the_default_every_write_and_what_brought_it_in():
    layer = Layer.default_config().set(dim=8); template = line()  # fmt: skip  # noqa: E702
    cfg = Model.default_config()
    cfg.layer.dim = 4; early = line()  # fmt: skip  # noqa: E702
    cfg.layer = layer; brought = line()  # fmt: skip  # noqa: E702
    layer.dim = 1000  # of another copy
    with written_by("mesh rule cpu-1", where="mesh_rules/cpu.py:3"):
        cfg = cfg.clone()
        cfg.layer.dim = 16
    cfg, _ = apply_overrides(cfg, [Override("layer.dim", "32")])
    writes = history(cfg.freeze(), "layer.dim")
    assert [(w.path, *told([w])[0]) for w in writes] == [
        ("layer.dim", "default", "Layer.Config", REQUIRED),
        ("layer.dim", "recipe", f"{HERE}:{template}", 8),
        ("layer.dim", "recipe", f"{HERE}:{early}", 4),
        ("layer", "recipe", f"{HERE}:{brought}", 8),
        ("layer.dim", "mesh rule cpu-1", "mesh_rules/cpu.py:3", 16),
        ("layer.dim", "command line", "--config.layer.dim=32", 32),
    ]


def test_history_looks_into_containers():
    cfg = Model.default_config()
    cfg.evalers = {"a": Layer.default_config().set(dim=3)}
    cfg.evalers["a"].dim = 5
    cfg.evalers["b"] = Layer.default_config()
    writes = history(cfg, 'evalers["a"].dim')
    assert [(w.path, w.by, w.value) for w in writes] == [
        ('evalers["a"].dim', "default", REQUIRED),
        ('evalers["a"].dim', "recipe", 3),
        ("evalers", "recipe", 3),
        ("evalers", "changed in place", 3),
        ('evalers["a"].dim', "recipe", 5),
    ]
    cfg.evalers["a"].axes = ["x", "y"]
    writes = history(cfg, 'evalers["a"].axes[1]')
    assert [(w.path, w.by, w.value) for w in writes][-1] == ('evalers["a"].axes', "recipe", "y")
    assert "default" not in [w.by for w in writes]  # the default has no second element


def test_history_of_a_field_that_was_never_set_is_its_default():
    (write,) = history(Layer.default_config(), "eps")
    assert write == Write("default", "Layer.Config", 1e-5, path="eps")
    with pytest.raises(UnknownFieldError, match="did you mean eps"):
        history(Layer.default_config(), "esp")


def test_history_keeps_what_a_replaced_config_had():
    cfg = Model.default_config()
    with written_by("rule one"):
        cfg.layer = Layer.default_config().set(dim=1)
        cfg.layer.dim = 2
    with written_by("rule two"):
        cfg.layer = Layer.default_config()
    assert [(w.by, w.path, w.value) for w in history(cfg, "layer.dim")] == [
        ("default", "layer.dim", REQUIRED),
        ("rule one", "layer.dim", 1),
        ("rule one", "layer", 1),
        ("rule one", "layer.dim", 2),
        ("rule two", "layer", REQUIRED),
    ]


def test_every_line_of_the_flat_text_has_its_writer():
    cfg = Model.default_config().set(evalers={"a": Layer.default_config()})
    cfg.layer.axes = ["x"] * 40  # long enough for a line each
    cfg, _ = apply_overrides(cfg, [Override("layer.eps", "0.5")])
    writers = leaf_writers(cfg)
    assert writers.keys() == flatten(cfg).keys()
    assert writers["layer.eps"].by == "command line"
    assert writers["layer.dim"].by == "default"
    assert writers["layer.axes[3]"].by == "recipe"
    assert writers['evalers["a"].eps'] == Write(
        "default", "Layer.Config", 1e-5, path='evalers["a"].eps'
    )


def test_code_outside_the_project_is_named_by_its_whole_path(tmp_path, monkeypatch):
    source = tmp_path / "mine.py"
    source.write_text("def change(cfg):\n    cfg.dim = 3\n")
    names: dict[str, Any] = {}
    exec(compile(source.read_text(), str(source), "exec"), names)
    cfg = Layer.default_config()
    names["change"](cfg)
    assert cfg.writes("dim")[0].where == f"{source}:2"


def test_a_thousand_writes_stay_cheap_to_hold():
    @config_class
    class Counter(ConfigBase):
        x: int = 0

    cfg = Counter()
    for i in range(1000):
        cfg.x = i
    assert len(cfg.writes("x")) == 1000
