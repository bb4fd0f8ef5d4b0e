"""How every command of this package parses flags, fails and exits. Standard library only."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import gc
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

from axl_exp.errors import UserError
from axl_exp.report.text import printable

_OVERRIDE = re.compile(r"--config\.(?P<path>[^=]+)(?:=(?P<text>.*))?", re.DOTALL)

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it.
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE.
EXIT_TERMINATED = 143  # 128 + SIGTERM.
EXIT_INTERNAL = 70  # EX_SOFTWARE of sysexits.h; 1 is taken: `compare` means a regression by it.

# Thresholds of `gc` with which it looks seldom; by default it does after 700 objects, 10 and 10.
RARELY = (200_000, 20, 100)


def run_command(body: Callable[[], int | None], *, debug: bool = False) -> int:
    """Return the exit code of `body`, with every failure turned into its code and its words.

    A UserError becomes `error: <message>` on stderr and its exit code; Ctrl-C becomes 130; a reader
    that closed our stdout (`| head`) ends the command quietly. Any other exception is a fault of
    this package: its traceback is printed and the code is 70.

    Args:
        body: The command; returns an exit code, or None for 0.
        debug: Print the traceback of a UserError too.
    """
    try:
        code = body() or 0
        sys.stdout.flush()  # A closed pipe must be noticed here, not in the interpreter's shutdown.
        return code
    except UserError as error:
        if debug:
            traceback.print_exc()
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        drop_stdout()
        return EXIT_BROKEN_PIPE
    except Exception:
        traceback.print_exc()
        print("error: this is a fault of axl_exp, not of your input", file=sys.stderr)
        return EXIT_INTERNAL


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """Look seldom for garbage while this lasts: for commands that import and trace much, and end.

    Nearly all that they make lives as long as they do. By default a twelfth of a plan's time goes
    into finding that out, imports included, and a fifth of a sweep's.
    """
    before = gc.get_threshold()
    gc.set_threshold(*RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextlib.contextmanager
def cleaned_up_if_terminated() -> Iterator[None]:
    """Let SIGTERM end the block as an exception does, so that what it made is removed; code 143.

    By itself the signal ends a process where it stands. For the main thread alone, as all handlers.
    """

    def leave(*_: Any) -> NoReturn:
        raise SystemExit(EXIT_TERMINATED)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def drop_stdout() -> None:
    """Send what is still to be written to nowhere, after its reader closed it.

    The interpreter flushes stdout once more at exit, to a place that must accept it.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def nearest_names(name: str, choices: Iterable[str], *, limit: int = 3) -> list[str]:
    """Return at most `limit` of `choices` that look like `name`, the most similar first."""
    by_folded = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(name.lower(), by_folded, n=limit, cutoff=0.6)
    return [by_folded[folded] for folded in found]


def did_you_mean(name: str, choices: Iterable[str], *, limit: int = 3) -> str:
    """Return ` Did you mean a, b?` with the names nearest to `name`; empty where none is near."""
    found = nearest_names(name, choices, limit=limit)
    return f" Did you mean {', '.join(found)}?" if found else ""


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the flags without overrides, and (path, text) of every `--config.<path>=<text>`.

    A value may stand after a space, as config_flags' users write it too; a flag is no value.

    Raises:
        SystemExit: An override has no value; one line says so, exit code 2.
    """
    flags: list[str] = []
    overrides: list[tuple[str, str]] = []
    rest = iter(argv)
    for word in rest:
        match = _OVERRIDE.fullmatch(word)
        if match is None:
            flags.append(word)
        else:
            text = match["text"] if match["text"] is not None else next(rest, "--")
            if match["text"] is None and text.startswith("--"):
                print(f"error: {word} has no value; write {word}=<value>", file=sys.stderr)
                raise SystemExit(2)
            overrides.append((match["path"], text))
    return flags, overrides


class CommandParser(argparse.ArgumentParser):
    """An ArgumentParser whose complaints are one line, name the nearest flag, and exit 2.

    Flags cannot be abbreviated: a script that says `--me` must not change its meaning on the day
    that a second flag starts with it.
    """

    def __init__(self, **kwargs: Any):
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**kwargs)

    def parse_args(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> argparse.Namespace:
        """Parse `args`; an argument that no flag takes is an error that names the nearest flag."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.unknown_argument(unknown[0])
        return parsed

    def unknown_argument(self, argument: str) -> NoReturn:
        """Exit 2 over one unknown argument, for commands that call `parse_known_args`."""
        flag = argument.split("=", 1)[0]
        flags = [name for action in self._actions for name in action.option_strings]
        kind = "flag" if flag.startswith("-") else "argument"
        self.error(f"unknown {kind} {flag}.{did_you_mean(flag, flags)}")

    def error(self, message: str) -> NoReturn:
        """Print `error: <message>` and where help is, in one line, and exit 2."""
        end = "" if message.endswith((".", "?")) else "."
        self.exit(2, f"error: {printable(message)}{end} See `{self.prog} --help`.\n")
