"""How long a step takes: the compiled program, run through in the order of its own schedule.

The program says what it starts and when it awaits it. So the clock advances by what the device
computes; a transfer that is started occupies its wires from then on, or from when they are free;
and where the program awaits a transfer that is not over, the device waits. Overlap is what the
compiler has scheduled, nothing is assumed hidden.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from axl_exp.dryrun.compiled.collectives import Communication, communication_of
from axl_exp.dryrun.compiled.execution import called_once
from axl_exp.dryrun.compiled.hlo import Array, Computation, Instruction, Program
from axl_exp.dryrun.compiled.network import Network, Transfer
from axl_exp.dryrun.compiled.trip_counts import trip_count

HOST_SPACE = 5
"""The memory space of arrays that wait on the host."""

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

    def begin(self, transfer: Transfer) -> float:
        """Put a transfer on its wires; return when it is over."""
        self.busy = [(other, end) for other, end in self.busy if end > self.now]
        start = max([self.now, *(end for t, end in self.busy if _share_wires(t, transfer))])
        self.busy.append((transfer, start + transfer.seconds))
        self.transfers += transfer.seconds
        return start + transfer.seconds

    def wait(self, link: str, until: float) -> None:
        if until > self.now:
            self._expose(link, until - self.now)
            self.now = until

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
                self._issue(clock, where, instruction)
            self._runs[where.name] = StepTimes(
                clock.now, clock.compute, clock.transfers, dict(clock.exposed)
            )
        return self._runs[where.name]

    def _issue(self, clock: _Clock, where: Computation, instruction: Instruction) -> None:
        opcode = instruction.opcode
        if opcode == "while":
            body = self.program.computation(instruction.called["body"][0])
            clock.advance(self._run(body), trip_count(self.program, where, instruction))
        elif opcode.endswith("-done"):
            clock.wait(*clock.started.pop(instruction.operands[0], ("", 0.0)))
        elif opcode.endswith("-update"):
            begun = clock.started.pop(instruction.operands[0], ("", 0.0))
            clock.started[instruction.name] = begun
        elif opcode in ("conditional", "call"):
            branches = [
                self._run(self.program.computation(name)) for name in called_once(instruction)
            ]
            clock.advance(max(branches, key=lambda times: times.total), 1)
        elif transfer := self._transfer(where, instruction):
            end = clock.begin(transfer)
            if opcode.endswith("-start"):
                clock.started[instruction.name] = (transfer.link, end)
            else:
                clock.wait(transfer.link, end)
        else:
            seconds = self.compute_seconds(where, instruction)
            clock.now += seconds
            clock.compute += seconds

    def _transfer(self, where: Computation, instruction: Instruction) -> Transfer | None:
        host_bytes = host_copy_bytes(instruction)
        if host_bytes:
            seconds = host_bytes / self.host_bytes_per_second
            return Transfer(seconds, "host", frozenset())
        found = self._communication(where, instruction)
        if found is None and instruction.opcode in ("fusion", "async-start"):
            # A fusion that communicates: on a TPU the reduce-scatter is written so.
            inner = [self.program.computation(name) for name in called_once(instruction)]
            each = (self._communication(c, i) for c in inner for i in c.instructions)
            found = next((one for one in each if one), None)
        if found is None:
            return None
        return self.network.transfer(found.kind, found.groups, num_bytes=found.num_bytes)

    def _communication(self, where: Computation, instruction: Instruction) -> Communication | None:
        return communication_of(where, instruction, num_partitions=self.program.num_partitions)


def host_copy_bytes(instruction: Instruction) -> int:
    """Return the bytes that a copy moves between device and host; 0 for everything else."""
    if instruction.opcode != "copy-start":
        return 0
    data = [array for array in instruction.arrays if array.dims]
    if len(data) < 2 or len({_is_on_host(array) for array in data}) == 1:
        return 0
    return data[0].num_bytes


def _is_on_host(array: Array) -> bool:
    return array.memory_space == HOST_SPACE


def _share_wires(one: Transfer, other: Transfer) -> bool:
    if "host" in (one.link, other.link):
        return one.link == other.link
    if one.wires is None or other.wires is None:
        return True
    return bool(one.wires & other.wires)
