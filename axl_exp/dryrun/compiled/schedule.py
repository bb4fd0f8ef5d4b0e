"""How long a step takes: the compiled program, run through in the order of its own schedule.

The program says what it starts and when it awaits it. So the clock advances by what the device
computes; a transfer that is started occupies its wires from then on, or from when they are free;
and where the program awaits a transfer that is not over, the device waits. Overlap is what the
compiler has scheduled, nothing is assumed hidden.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from axl_exp.dryrun.compiled.execution import called_once
from axl_exp.dryrun.compiled.hlo import Array, Computation, Instruction, Program
from axl_exp.dryrun.compiled.issue import Issue, issues_of
from axl_exp.dryrun.compiled.network import Network, Transfer
from axl_exp.dryrun.compiled.trip_counts import trip_count

HOST_SPACE = 5
"""The memory space of arrays that wait on the host."""

_COPIES = ("copy-start", "slice-start", "dynamic-slice-start", "dynamic-update-slice-start")

ComputeSeconds = Callable[[Computation, Instruction], float]


@dataclasses.dataclass(frozen=True)
class StepTimes:
    """Seconds of one run of a program."""

    total: float
    compute: float
    transfers: float
    """On wires, hidden or not."""
    exposed: Mapping[str, float]
    """Waited for, by link."""


@dataclasses.dataclass
class _Clock:
    """The state of one computation's run."""

    now: float = 0.0
    compute: float = 0.0
    transfers: float = 0.0
    exposed: dict[str, float] = dataclasses.field(default_factory=dict)
    busy: list[tuple[Transfer, float]] = dataclasses.field(default_factory=list)
    started: dict[str, tuple[str, float]] = dataclasses.field(default_factory=dict)

    def start(self, key: str, transfer: Transfer) -> None:
        """Put a transfer on its wires, behind those that are on them."""
        self.busy = [(other, end) for other, end in self.busy if end > self.now]
        free = max([self.now, *(end for t, end in self.busy if _share_wires(t, transfer))])
        self.busy.append((transfer, free + transfer.seconds))
        self.started[key] = (transfer.link, free + transfer.seconds)
        self.transfers += transfer.seconds

    def wait(self, key: str) -> None:
        """Stand still until a transfer is over, if it was started."""
        link, end = self.started.pop(key, ("", 0.0))
        if end > self.now:
            self._expose(link, end - self.now)
            self.now = end

    def compute_for(self, seconds: float) -> None:
        self.now += seconds
        self.compute += seconds

    def advance(self, times: StepTimes, turns: int) -> None:
        self.now += times.total * turns
        self.compute += times.compute * turns
        self.transfers += times.transfers * turns
        for link, seconds in times.exposed.items():
            self._expose(link, seconds * turns)

    def _expose(self, link: str, seconds: float) -> None:
        self.exposed[link] = self.exposed.get(link, 0.0) + seconds


@dataclasses.dataclass
class Schedule:
    """Runs a scheduled program: its instructions stand in the order in which they are issued."""

    program: Program
    network: Network
    compute_seconds: ComputeSeconds
    """How long the device computes an instruction; of a fusion as a whole."""
    host_bytes_per_second: float
    """Between the device and its host, one way."""
    _runs: dict[str, StepTimes] = dataclasses.field(default_factory=dict)
    _issued: dict[str, Mapping[str, Issue]] = dataclasses.field(default_factory=dict)

    def step_times(self) -> StepTimes:
        """Return the times of one run of the program.

        Raises:
            HloTextError: Turns of a loop or groups of a collective are not known.
        """
        return self._run(self.program.entry)

    def _run(self, where: Computation) -> StepTimes:
        if where.name not in self._runs:
            clock = _Clock()
            for instruction in where.instructions:
                self._step(clock, where, instruction)
            self._runs[where.name] = StepTimes(
                clock.now, clock.compute, clock.transfers, dict(clock.exposed)
            )
        return self._runs[where.name]

    def _step(self, clock: _Clock, where: Computation, instruction: Instruction) -> None:
        opcode, issue = instruction.opcode, self._issues(where).get(instruction.name)
        if opcode == "while":
            body = self.program.computation(instruction.called["body"][0])
            clock.advance(self._run(body), trip_count(self.program, where, instruction))
        elif opcode in ("conditional", "call"):
            branches = [
                self._run(self.program.computation(name)) for name in called_once(instruction)
            ]
            clock.advance(max(branches, key=lambda times: times.total), 1)
        elif issue is not None:
            self._communicate(clock, where, instruction, issue)
        elif host_bytes := host_copy_bytes(instruction):
            seconds = host_bytes / self.host_bytes_per_second
            clock.start(instruction.name, Transfer(seconds, "host", frozenset()))
        elif opcode.endswith("-done"):
            clock.wait(instruction.operands[0])
        else:
            clock.compute_for(self.compute_seconds(where, instruction))

    def _communicate(
        self, clock: _Clock, where: Computation, instruction: Instruction, issue: Issue
    ) -> None:
        if issue.phase in ("whole", "start"):
            clock.start(issue.key, self.network.transfer_of(issue.communication))
        if instruction.opcode == "fusion" and issue.phase != "whole":
            clock.compute_for(self.compute_seconds(where, instruction))
        if issue.phase in ("whole", "done"):
            clock.wait(issue.key)

    def _issues(self, where: Computation) -> Mapping[str, Issue]:
        if where.name not in self._issued:
            self._issued[where.name] = issues_of(self.program, where)
        return self._issued[where.name]


def host_copy_bytes(instruction: Instruction) -> int:
    """Return the bytes that a start of a copy moves between device and host; 0 for all others.

    Of a copy out of or into a part of a larger array (`dynamic-slice-start`,
    `dynamic-update-slice-start`) the part.
    """
    if instruction.opcode not in _COPIES:
        return 0
    data = [array for array in instruction.arrays if array.dims]
    on_host = [array.num_bytes for array in data if _is_on_host(array)]
    on_device = [array.num_bytes for array in data if not _is_on_host(array)]
    return min(*on_host, *on_device) if on_host and on_device else 0


def _is_on_host(array: Array) -> bool:
    return array.memory_space == HOST_SPACE


def _share_wires(one: Transfer, other: Transfer) -> bool:
    if {"host", "dcn"} & {one.link, other.link}:
        return one.link == other.link
    if one.wires is None or other.wires is None:
        return True
    return bool(one.wires & other.wires)
