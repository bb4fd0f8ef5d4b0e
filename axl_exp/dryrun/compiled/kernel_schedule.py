"""How long a TPU kernel takes by the schedule that the compiler made of it.

libtpu writes the bundles of instructions that it made of a kernel, if it is asked to before it is
loaded (`lone_kernels.py`); a core issues one in a cycle. A kernel is a loop over the steps of its
grid, with stretches that some steps skip.
"""

from __future__ import annotations

import dataclasses
import re

# The loop runs two turns more than the grid has steps: what a step reads is copied a turn before,
# what it writes a turn after it.
_PIPELINE_TURNS = 2

_BUNDLE = re.compile(r"\s*0x([0-9a-f]+)\s+(?:(\w\w)\s*)?:(.*)")
_BRANCH = re.compile(r"sbr\.rel \((!?)%")
_EXIT = re.compile(r"= scmp\.ge\.s32\.totalorder %\w+, (\d+) /\* loop exit test")


@dataclasses.dataclass(frozen=True)
class KernelSchedule:
    """The bundles of a kernel on one core."""

    num_steps: int
    """Of the grid, or of the part of it that is this core's."""
    every_step: int
    """Bundles that each step issues."""
    skipped: tuple[int, ...]
    """Bundles of each stretch that steps may skip, the longest first."""

    def cycles(self, *, longest: float = 1.0, others: float = 1.0) -> float:
        """Return the cycles of one run of the kernel.

        Args:
            longest: The share of steps that go through the longest stretch: the work itself.
            others: That of steps that go through the others: what begins and ends a row of steps.
        """
        work, rest = sum(self.skipped[:1]), sum(self.skipped[1:])
        return self.num_steps * (self.every_step + longest * work + others * rest)


def read_schedule(text: str) -> KernelSchedule | None:
    """Return the schedule that libtpu wrote, bundle by bundle; None where it is not understood."""
    loops: list[tuple[int, int, int]] = []
    skips: list[tuple[int, int]] = []
    open_loops: list[int] = []
    open_skips: list[int] = []
    turns: int | None = None
    address = 0
    for line in text.splitlines():
        bundle = _BUNDLE.match(line)
        if not bundle:
            continue
        address, mark, rest = int(bundle[1], 16), bundle[2], bundle[3]
        if mark == "LB":
            open_loops.append(address)
        if mark == "PF" and open_skips:
            skips.append((open_skips.pop(), address))
        if test := _EXIT.search(rest):
            turns = int(test[1])
        branch = _BRANCH.search(rest)
        if branch and branch[1] and turns is not None and open_loops:
            loops.append((open_loops.pop(), address, turns))
            turns = None
        elif branch:
            open_skips.append(address)
    if open_loops or not address:
        return None
    return _summed(address + 1, loops, skips)


def _summed(
    length: int, loops: list[tuple[int, int, int]], skips: list[tuple[int, int]]
) -> KernelSchedule:
    """Put loops within the grid's and stretches of no further one into numbers."""
    grid = max(loops, key=lambda loop: loop[1] - loop[0], default=(0, length, 1))
    num_steps = max(1, grid[2] - _PIPELINE_TURNS)

    def bundles(start: int, end: int) -> int:
        inner = [each for each in loops if each != grid and start <= each[0] and each[1] <= end]
        return end - start + sum((turns - 1) * (stop - begin) for begin, stop, turns in inner)

    within = [s for s in skips if grid[0] <= s[0] and s[1] <= grid[1]]
    leaves = [
        s for s in within if not any(s != o and s[0] <= o[0] and o[1] <= s[1] for o in within)
    ]
    skipped = sorted((bundles(*leaf) for leaf in leaves), reverse=True)
    return KernelSchedule(
        num_steps=num_steps,
        every_step=bundles(grid[0], grid[1]) - sum(skipped),
        skipped=tuple(skipped),
    )
