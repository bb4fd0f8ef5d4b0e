#!/usr/bin/env python3
"""Run a command of this repository in an environment of its own, made on first use.

    python3 tools/run.py train [ARGUMENT...]   train fuji-tiny; arguments go to axl_exp.launch
    python3 tools/run.py test                  lint, types, house rules and all tests
    python3 tools/run.py test ARGUMENT...      pytest alone, with these arguments
    python3 tools/run.py setup                 only make the environment, with developers' tools

Needs Python 3.11 or newer and nothing else. The environment is `.venv` in the repository, with the
versions of constraints.txt. It is made again when pyproject.toml, constraints.txt, the Python or
the place of the repository changes, and after an install that was cut off (what was downloaded by
then comes from pip's cache).
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Old Pythons must be able to read this file as far as here: no newer syntax anywhere in it.
if sys.version_info < (3, 11):  # noqa: UP036
    others = [name for name in ("python3.13", "python3.12", "python3.11") if shutil.which(name)]
    sys.exit(
        "error: Python 3.11 or newer is needed, this is {}.{}\nfix: {}".format(
            sys.version_info[0],
            sys.version_info[1],
            " ".join([others[0], *sys.argv]) if others else "install Python 3.11 or newer",
        )
    )

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
# Inside the environment, so that whoever deletes one deletes both.
STAMP = VENV / "axl_exp.json"
INSTALL_LOG = VENV / "install.log"
LOCK = ROOT / ".venv.lock"


class SetupError(Exception):
    """The environment cannot be made; the message names the fix."""


def fingerprint() -> str:
    """Return a hash of all that decides what the environment contains."""
    parts = [
        (ROOT / "pyproject.toml").read_bytes(),
        (ROOT / "constraints.txt").read_bytes(),
        sys.version.encode(),
        str(ROOT).encode(),
    ]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def is_ready(*, dev: bool) -> bool:
    """Return whether the environment is complete and current (`dev`: with developers' tools)."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return False
    return PYTHON.exists() and stamp["fingerprint"] == fingerprint() and stamp["dev"] >= dev


def ensure_environment(*, dev: bool) -> None:
    """Make or renew `.venv` unless it is ready; of two callers at once the second waits.

    Raises:
        SetupError: This Python cannot make environments, or the install failed.
    """
    if is_ready(dev=dev):
        return
    if not all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise SetupError(
            f"this Python {version} comes without venv and pip\n"
            f"fix: sudo apt install python{version}-venv (Debian, Ubuntu), then run this again"
        )
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another setup of this repository to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_ready(dev=dev):
            make_environment(dev=dev)


def make_environment(*, dev: bool) -> None:
    """Make `.venv` from nothing, or add the developers' tools to one that is current."""
    start = time.monotonic()
    version = ".".join(map(str, sys.version_info[:3]))
    if not is_ready(dev=False):
        say(f"setting up .venv with Python {version} (once; a few minutes, about 1 GB)")
        # From nothing: pip takes a package that an interrupted install left half copied for whole.
        base_python = getattr(sys, "_base_executable", sys.executable)
        subprocess.run([base_python, "-m", "venv", "--clear", str(VENV)], check=True)
    # Gone while pip works: an install that is cut off must not look complete.
    STAMP.unlink(missing_ok=True)
    install(".[dev]" if dev else ".")
    STAMP.write_text(json.dumps({"fingerprint": fingerprint(), "dev": dev}))
    say(f"environment ready in {time.monotonic() - start:.0f} s")


def install(requirement: str) -> None:
    """Install this repository, editable, with the versions of constraints.txt.

    Raises:
        SetupError: pip failed; the message has its last errors and the place of its whole output.
    """
    command = [str(PYTHON), "-m", "pip", "install", "--progress-bar=off", "-e", requirement]
    # By environment variable, since `-c` does not reach the isolated builds; pip 25.3 gave those a
    # variable of their own. Relative to cwd, since pip splits these values at spaces.
    environment = {
        **os.environ,
        "PIP_CONSTRAINT": "constraints.txt",
        "PIP_BUILD_CONSTRAINT": "constraints.txt",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    pip = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    with pip, INSTALL_LOG.open("w") as log:
        assert pip.stdout is not None
        show = progress_line()
        for line in pip.stdout:
            log.write(line)
            show(line)
    if pip.returncode:
        errors = [line for line in INSTALL_LOG.read_text().splitlines() if "ERROR" in line]
        raise SetupError(
            "\n".join(errors[-3:] or ["pip failed"])
            + f"\nfix: see {INSTALL_LOG.relative_to(ROOT)}; once mended, the same command goes on"
        )


def progress_line() -> Callable[[str], None]:
    """Return a function that turns pip's output into one moving line, or a few lines if piped."""
    pins = set(re.findall(r"^[\w.-]+(?===)", (ROOT / "constraints.txt").read_text(), re.M))
    is_terminal = sys.stderr.isatty()
    seen = set()

    def show(line: str) -> None:
        found = re.match(r"Collecting ([\w.-]+)", line)
        if found:
            seen.add(found.group(1))
            text = f"collecting {len(seen)} of at most {len(pins)}: {found.group(1)}"
        elif re.match(r"\s+Downloading .*MB\)", line):
            text = line.strip()
        elif line.startswith("Installing collected packages"):
            text = f"installing {line.count(',') + 1} packages"
        elif line.startswith("Successfully installed"):
            text = f"installed {line.count(' ') - 1} packages"
        else:
            return
        if is_terminal:
            sys.stderr.write(f"\r\033[K  {text[:76]}")
            sys.stderr.write("\n" * line.startswith("Successfully installed"))
            sys.stderr.flush()
        elif not found or len(seen) % 20 == 0:
            say(f"  {text}")

    return show


def train(arguments: list[str]) -> int:
    """Become the training of fuji-tiny: signals reach it without a parent in between."""
    ensure_environment(dev=False)
    os.chdir(ROOT)
    command = [str(PYTHON), "-m", "axl_exp.launch", "--config=fuji-tiny", *arguments]
    os.execv(command[0], command)


def test(arguments: list[str]) -> int:
    """Run every check, also after one has failed, and return 1 if any failed."""
    ensure_environment(dev=True)
    python = str(PYTHON)
    # A file stays on one worker: what a file's tests share (a run, a corpus) is made once.
    spread = ["-n", "auto", "--maxprocesses=4", "--dist=loadfile"] if not arguments else []
    pytest = [python, "-m", "pytest", *spread, *arguments]
    checks = {
        "ruff": [python, "-m", "ruff", "check"],
        "types": [python, "-m", "basedpyright", "--pythonpath", python],
        "house rules": [python, "-m", "tools.check"],
        "pytest": pytest,
    }
    results = []
    for name, command in checks.items():
        if arguments and command is not pytest:
            continue
        say(f"== {name}: {' '.join(['python', *command[1:]])}")
        start = time.monotonic()
        passed = subprocess.run(command, cwd=ROOT).returncode == 0
        results.append((name, passed, time.monotonic() - start))
    for name, passed, seconds in results:
        say(f"{name:12} {'passed' if passed else 'FAILED'} {seconds:6.1f} s")
    return 0 if all(passed for _, passed, _ in results) else 1


def setup(arguments: list[str]) -> int:
    """Make the environment with the developers' tools."""
    if arguments:
        raise SetupError(f"setup takes no arguments, got: {' '.join(arguments)}")
    ensure_environment(dev=True)
    say("ready: source .venv/bin/activate")
    return 0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


COMMANDS = {"train": train, "test": test, "setup": setup}


def main(arguments: list[str]) -> int:
    """Run the command that the first argument names and return its exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    if arguments[0] not in COMMANDS:
        say(f"error: no command {arguments[0]!r}; there are: {', '.join(COMMANDS)}")
        return 2
    try:
        return COMMANDS[arguments[0]](arguments[1:])
    except SetupError as error:
        say(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        say("\ninterrupted; the same command goes on from here")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
