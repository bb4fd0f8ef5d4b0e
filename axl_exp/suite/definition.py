"""What a suite is: cases by name, each a config and overrides."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One thing that is tried on both sides.

    Attributes:
        name: As the suite calls it.
        config: Name of a config; its golden tells what the case is.
        overrides: `path=value`, as after `--config.` of a launch.
        mesh: Hardware selector; `auto` for whatever is there.
        interrupt_at_step: Stop the run with SIGTERM once it has reached this step, and launch it
            again: what is judged is the resumed run. None to let it run through.
        about: What it is there to show.
    """

    name: str
    config: str
    overrides: tuple[str, ...] = ()
    mesh: str = "auto"
    interrupt_at_step: int | None = None
    about: str = ""

    def flags(self) -> list[str]:
        """Return the flags of a launch of this case, but for its run directory."""
        return [
            f"--config={self.config}",
            f"--mesh={self.mesh}",
            *(f"--config.{override}" for override in self.overrides),
        ]


@dataclass(frozen=True)
class Suite:
    """Cases that are run and judged together."""

    name: str
    cases: tuple[Case, ...]
    about: str = ""
