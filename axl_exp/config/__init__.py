"""The config language: composable, typed config objects, with AXLearn's names and semantics."""

from axl_exp.config.core import ConfigBase, config_class, validate
from axl_exp.config.errors import (
    ConfigError,
    FrozenConfigError,
    InvalidConfigClassError,
    InvalidConfigNameError,
    InvalidConfigValueError,
    InvalidPathError,
    MissingConfigClassDecoratorError,
    NonConfigFieldError,
    OverrideError,
    RequiredFieldMissingError,
    UnknownFieldError,
)
from axl_exp.config.explain import history, leaf_writers
from axl_exp.config.instantiable import (
    ClassConfigBase,
    ConfigModifier,
    ConfigOr,
    Configurable,
    FunctionConfigBase,
    InstantiableConfig,
    config_for_class,
    config_for_function,
    config_for_partial_function,
    maybe_instantiate,
    maybe_set_config,
)
from axl_exp.config.names import similar_names
from axl_exp.config.override import Override, apply_overrides
from axl_exp.config.provenance import Write, written_by
from axl_exp.config.required import REQUIRED, Required, RequiredFieldValue
from axl_exp.config.values import register_validator

__all__ = [
    "ClassConfigBase",
    "ConfigBase",
    "ConfigError",
    "ConfigModifier",
    "ConfigOr",
    "Configurable",
    "FrozenConfigError",
    "FunctionConfigBase",
    "InstantiableConfig",
    "InvalidConfigClassError",
    "InvalidConfigNameError",
    "InvalidConfigValueError",
    "InvalidPathError",
    "MissingConfigClassDecoratorError",
    "NonConfigFieldError",
    "Override",
    "OverrideError",
    "REQUIRED",
    "Required",
    "RequiredFieldMissingError",
    "RequiredFieldValue",
    "UnknownFieldError",
    "Write",
    "apply_overrides",
    "config_class",
    "config_for_class",
    "config_for_function",
    "config_for_partial_function",
    "history",
    "leaf_writers",
    "maybe_instantiate",
    "maybe_set_config",
    "register_validator",
    "similar_names",
    "validate",
    "written_by",
]
