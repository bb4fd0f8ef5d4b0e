"""The error of this room."""

from axl_exp.errors import UserError


class DataError(UserError):
    """A data directory, dataset, vocabulary or batch size that cannot be used; says the fix."""
