"""The one kind of error that is the user's to mend."""

from __future__ import annotations


class UserError(Exception):
    """Something that the user can mend: the message says what is wrong, where, and the fix.

    Commands print the message (one or two lines, see `axl_exp.cli.run_command`) and exit with
    `exit_code`. Every other exception is a fault of this package and keeps its traceback.
    """

    exit_code = 2
