"""All that a program communicates in a step."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from axl_exp.dryrun.compiled.collectives import Communication
from axl_exp.dryrun.compiled.execution import Execution
from axl_exp.dryrun.compiled.facts import CompiledCollective
from axl_exp.dryrun.compiled.groups import axes_of
from axl_exp.dryrun.compiled.hlo import Instruction, Program
from axl_exp.dryrun.compiled.issue import Issue, issues_of
from axl_exp.dryrun.compiled.network import Network
from axl_exp.dryrun.compiled.owners import Owners


@dataclasses.dataclass(frozen=True)
class Traffic:
    """One communication of a step."""

    communication: Communication
    source: Instruction
    """The collective itself, which may stand within a fusion."""
    issued: Execution
    """What starts it."""

    @property
    def times(self) -> int:
        """How often in a step."""
        return self.issued.times


def traffic_of(program: Program, run: Iterable[Execution]) -> Iterator[Traffic]:
    """Yield every communication of a step once: where it is started.

    Raises:
        HloTextError: Groups of a collective are not understood.
    """
    issues: dict[str, dict[str, Issue]] = {}
    for each in run:
        if not each.is_issued:
            continue
        where = each.computation
        if where.name not in issues:
            issues[where.name] = issues_of(program, where)
        issue = issues[where.name].get(each.instruction.name)
        if issue is not None and issue.phase in ("whole", "start"):
            yield Traffic(issue.communication, issue.source, each)


def sum_traffic(
    traffic: Iterable[Traffic],
    *,
    network: Network,
    owners: Owners,
    axis_sizes: Mapping[str, int],
) -> tuple[CompiledCollective, ...]:
    """Return the communication of a step by kind, axes, link and owner, the longest first."""
    sums: dict[tuple[str, tuple[str, ...], str, str], tuple[int, int, float]] = {}
    for each in traffic:
        what = each.communication
        transfer = network.transfer_of(what)
        axes = axes_of(network.global_groups(what), axis_sizes=axis_sizes)
        key = (what.kind, axes, transfer.link, owners.owner(each.source))
        count, num_bytes, seconds = sums.get(key, (0, 0, 0.0))
        sums[key] = (
            count + each.times,
            num_bytes + each.times * what.num_bytes,
            seconds + each.times * transfer.seconds,
        )
    collectives = [
        CompiledCollective(
            kind=kind,
            mesh_axes=axes,
            link=link,
            owner=owner,
            count=count,
            num_bytes=num_bytes,
            seconds=seconds,
        )
        for (kind, axes, link, owner), (count, num_bytes, seconds) in sums.items()
    ]
    return tuple(sorted(collectives, key=lambda c: (-c.seconds, c.kind, c.owner)))
