"""Errors of the config language. Every one is a user's mistake and its text names the fix."""

from axl_exp.errors import UserError


class ConfigError(UserError):
    """The base of every error of the config language."""


class MissingConfigClassDecoratorError(ConfigError, TypeError):
    """A config class was written without `@config_class`."""


class InvalidConfigClassError(ConfigError, TypeError):
    """`@config_class` was put on a class that does not inherit from ConfigBase."""


class InvalidConfigNameError(ConfigError, ValueError):
    """A field name is not lower_snake_case."""


class InvalidConfigValueError(ConfigError, TypeError):
    """A value has a type that its field, or any config field, cannot hold."""


class NonConfigFieldError(ConfigError, ValueError):
    """A config class has an attribute without an annotation, which would not be a field."""


class UnknownFieldError(ConfigError, AttributeError):
    """A name is no field of the config; the message names the nearest ones."""


class RequiredFieldMissingError(ConfigError, ValueError):
    """Fields are still REQUIRED; the message names every one with its path."""


class InvalidPathError(ConfigError, ValueError):
    """A text is no path such as `learner.optimizer.learning_rate`, or a path is empty."""


class FrozenConfigError(ConfigError, RuntimeError):
    """A frozen (resolved) config was about to change."""


class OverrideError(ConfigError, ValueError):
    """A `--config.path=value` names no field, does not parse as its type, or is given twice."""
