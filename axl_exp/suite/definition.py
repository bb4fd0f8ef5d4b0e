"""What a suite is: cases by name, each a config and overrides."""

from __future__ import annotations

from dataclasses import dataclass

from axl_exp.errors import UserError


class SuiteError(UserError):
    """A suite whose cases do not fit together."""


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
        losses_of: Another case of the suite whose losses this one must have, on each commit by
            itself; empty where there is none. On a head that breaks what holds on its base, the
            case is worse, whatever its own figures are.
        within: By how much those losses may differ, relative to them; 0: to the bit.
        about: What it is there to show.
    """

    name: str
    config: str
    overrides: tuple[str, ...] = ()
    mesh: str = "auto"
    interrupt_at_step: int | None = None
    losses_of: str = ""
    within: float = 0.0
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
    """Cases that are run and judged together.

    Raises:
        SuiteError: Two cases have one name, or one names a case that is not there.
    """

    name: str
    cases: tuple[Case, ...]
    about: str = ""

    def __post_init__(self):
        names = [case.name for case in self.cases]
        for case in self.cases:
            if names.count(case.name) > 1:
                raise SuiteError(f"suite {self.name} has two cases called {case.name}.")
            if case.losses_of and case.losses_of not in names:
                raise SuiteError(
                    f"case {case.name} of suite {self.name} is to have the losses of "
                    f"{case.losses_of!r}, which is no case of it. It has: {', '.join(names)}."
                )
