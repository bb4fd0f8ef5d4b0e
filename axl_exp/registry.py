"""Config names to configs: the only place that imports by name.

A *family module* is any importable module with `named_trainer_configs() -> {name: function}`; each
function returns a fresh trainer config. It may also have `config_aliases() -> {alias: name}`,
`named_suites() -> sequence of Suite`, and `mesh_rules() -> sequence of MeshRule`, tried before the
built-in rules. `experiments` and `mesh_rules` of this repository are the built-in ones;
`--module=my_package` adds a user's own.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from axl_exp.cli import did_you_mean
from axl_exp.config import ConfigBase, ConfigError
from axl_exp.errors import UserError
from axl_exp.mesh import MeshRule

_EXPERIMENTS = "experiments"
_MESH_RULES = "mesh_rules"


class UnknownConfigError(UserError):
    """No config has this name."""


class UnknownSuiteError(UserError):
    """No suite has this name."""


class UserModuleError(UserError):
    """A user's module or config file cannot be used: not found, fails, or lacks its function."""


@dataclasses.dataclass(frozen=True)
class NamedConfig:
    """A recipe before any mesh rule: a fresh trainer config and the name it goes by."""

    name: str
    """The config's own name, aliases resolved: what mesh rules and run directories go by. Of a
    file that returns a trainer config, its stem; of one with a `base`, the name of that."""

    config: ConfigBase

    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Path to value, from a config file that changes a named config. They are overrides like the
    command line's: a mesh rule does not undo them."""

    source: str = _EXPERIMENTS
    """The module or file that it was found in."""


def load_config(name: str, *, module: str | None = None) -> NamedConfig:
    """Return the config called `name`, or the one that the file `name` describes.

    Args:
        name: A config name (`fuji-7B-v2`), an alias (`fuji-1B`), or a file `path/to/file.py` with
            `get_config()`; `path/to/file.py:text` calls `get_config("text")`.
        module: Name of a module with configs of the user's own, beside the built-in ones.

    Raises:
        UnknownConfigError: No such name; the message names the nearest.
        UserModuleError: The module or file cannot be imported or lacks its function.
    """
    path, _, argument = name.partition(":")
    if path.endswith(".py"):
        return _load_file(Path(path), argument, module=module)
    configs, aliases = _find_configs(module)
    own_name = aliases.get(name, name)
    if own_name not in configs:
        known = [*configs, *aliases]
        hint = did_you_mean(name, known) or f" There are: {', '.join(known)}."
        raise UnknownConfigError(f"No config is called {name!r}.{hint}")
    source, make = configs[own_name]
    return NamedConfig(own_name, make(), source=source)


def list_configs(*, module: str | None = None, builtin: bool = True) -> list[str]:
    """Return the names of all configs, sorted, aliases left out.

    Args:
        module: Name of a module with configs of the user's own.
        builtin: Whether to include the configs of this repository.
    """
    configs, _ = _find_configs(module)
    return sorted(n for n, (source, _) in configs.items() if builtin or source != _EXPERIMENTS)


def list_suites(*, module: str | None = None) -> list[str]:
    """Return the names of all suites, those of `module` beside the built-in ones."""
    return sorted(_find_suites(module))


def load_suite(name: str, *, module: str | None = None) -> Any:
    """Return the suite called `name` (an `axl_exp.suite.definition.Suite`).

    Raises:
        UnknownSuiteError: No such name; the message names the nearest.
    """
    suites = _find_suites(module)
    if name not in suites:
        hint = did_you_mean(name, suites) or f" There are: {', '.join(sorted(suites))}."
        raise UnknownSuiteError(f"No suite is called {name!r}.{hint}")
    return suites[name]


def _find_suites(module: str | None) -> dict[str, Any]:
    """Return {name: suite} of the built-in suites and the user's; the user's win."""
    suites: dict[str, Any] = {}
    for found in (importlib.import_module(_EXPERIMENTS), _import_user_module(module)):
        suites |= {suite.name: suite for suite in getattr(found, "named_suites", tuple)()}
    return suites


def load_mesh_rules(*, module: str | None = None) -> tuple[MeshRule, ...]:
    """Return all mesh rules in order of precedence: those of `module` first, then the built-in."""
    own = getattr(_import_user_module(module), "mesh_rules", None) if module else None
    return (*(own() if own else ()), *importlib.import_module(_MESH_RULES).mesh_rules())


def find_symbol(name: str, *, module: str | None = None) -> Any:
    """Return what flat text calls `@name`, `module:qualname`, if it is of ours or of `module`.

    A text may come from anywhere: nothing else is imported for it.

    Raises:
        ConfigError: It is of another package, or is not there.
    """
    where, _, qualname = name.partition(":")
    packages = [_EXPERIMENTS, _MESH_RULES, __package__ or "", *([module] if module else [])]
    if where.partition(".")[0] not in [package.partition(".")[0] for package in packages]:
        raise ConfigError(f"@{name} is of no package of configs; name its own with --module")
    _import_user_module(module)
    try:
        found: Any = importlib.import_module(where)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"@{name} is not in this code; use the commit of the text") from error
    return found


def _find_configs(
    module: str | None,
) -> tuple[dict[str, tuple[str, Callable[[], ConfigBase]]], dict[str, str]]:
    """Return {name: (where, function)} and {alias: name} of the built-in and the user's configs."""
    configs: dict[str, tuple[str, Callable[[], ConfigBase]]] = {}
    aliases: dict[str, str] = {}
    for found in (importlib.import_module(_EXPERIMENTS), _import_user_module(module)):
        if found is None:
            continue
        for name, make in _call_named_trainer_configs(found).items():
            if name in configs:
                raise UserModuleError(
                    f"{found.__name__} and {configs[name][0]} both have a config {name!r}. "
                    "Rename one."
                )
            configs[name] = (found.__name__, make)
        aliases |= getattr(found, "config_aliases", dict)()
    return configs, aliases


def _call_named_trainer_configs(found: ModuleType) -> Mapping[str, Callable[[], ConfigBase]]:
    if not hasattr(found, "named_trainer_configs"):
        raise UserModuleError(
            f"Module {found.__name__} has no named_trainer_configs(): "
            "define it to return {name: function that makes a trainer config}."
        )
    return found.named_trainer_configs()


def _import_user_module(module: str | None) -> ModuleType | None:
    """Import a user's module; a failure inside it is reported with its own file and line."""
    if module is None:
        return None
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(error.name + ".")):
            raise UserModuleError(
                f"No module {error.name!r} for --module={module}: it is neither installed nor in "
                "the working directory."
            ) from error
        raise _import_failure(f"--module={module}", error) from error
    except Exception as error:
        raise _import_failure(f"--module={module}", error) from error


def _import_failure(what: str, error: Exception) -> UserModuleError:
    """Return the error for a user's code that raised: what it raised, in which file and line."""
    if isinstance(error, SyntaxError):
        said, where = error.msg, f"{error.filename}:{error.lineno}"
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if "importlib" not in f.filename and f.filename != __file__]
        said, where = str(error), f"{own[-1].filename}:{own[-1].lineno}" if own else "its import"
    return UserModuleError(f"{what} fails with {type(error).__name__}: {said} ({where})")


def _load_file(path: Path, argument: str, *, module: str | None) -> NamedConfig:
    """Return the config of a file: our trainer config, or an ml_collections.ConfigDict.

    A ConfigDict has `base`, a config name, and any nested fields to override in it.
    """
    if not path.is_file():
        raise UserModuleError(f"No config file {path}.")
    returned = _call_get_config(path, argument)
    if isinstance(returned, ConfigBase):
        return NamedConfig(path.stem, returned, source=str(path))
    values = _as_nested_dict(returned)
    if values is None or not isinstance(values.get("base"), str):
        raise UserModuleError(
            f"{path}: get_config() must return a trainer config, or an ml_collections.ConfigDict "
            "whose `base` is a config name."
        )
    base = load_config(values.pop("base"), module=module)
    overrides = {**base.overrides, **_flatten(values)}
    return NamedConfig(base.name, base.config, overrides=overrides, source=str(path))


def _call_get_config(path: Path, argument: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"config_file_{path.stem}", path)
    assert spec is not None and spec.loader is not None  # The path ends in .py.
    loaded = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(loaded)
        if hasattr(loaded, "get_config"):
            return loaded.get_config(*([argument] if argument else []))
    except Exception as error:
        raise _import_failure(str(path), error) from error
    raise UserModuleError(f"{path} has no get_config(): define it to return the config.")


def _as_nested_dict(value: Any) -> dict[str, Any] | None:
    """Return a ConfigDict (known by its method, so that nothing is imported) as nested dicts."""
    nested = value.to_dict() if hasattr(value, "to_dict") else None
    return nested if isinstance(nested, dict) else None


def _flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        path = f"{prefix}{key}"
        flat |= _flatten(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return flat
