from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axl_exp.dryrun.compiled.groups import axes_of, parse_groups
from axl_exp.dryrun.compiled.hlo import HloTextError


def test_groups_written_as_lists():
    assert parse_groups("{{0,2},{1,3}}", num_partitions=4) == ((0, 2), (1, 3))
    assert parse_groups("{}", num_partitions=3) == ((0, 1, 2),)


@given(st.data())
def test_groups_written_as_an_iota_are_what_numpy_makes_of_it(data):
    dims = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    order = data.draw(st.permutations(range(len(dims))))
    total = math.prod(dims)
    rows = data.draw(st.sampled_from([n for n in range(1, total + 1) if total % n == 0]))
    shape = (rows, total // rows)
    text = f"[{shape[0]},{shape[1]}]<=[{','.join(map(str, dims))}]"
    if list(order) != list(range(len(dims))):
        text += f"T({','.join(map(str, order))})"
    expected = np.arange(total).reshape(dims).transpose(order).reshape(shape)
    assert parse_groups(text, num_partitions=total) == tuple(map(tuple, expected.tolist()))


@given(st.data())
def test_groups_written_by_mesh_axes_are_what_numpy_makes_of_it(data):
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    used = data.draw(st.sets(st.integers(0, len(sizes) - 1), min_size=1))
    mesh = ",".join(f"'a{i}'={size}" for i, size in enumerate(sizes))
    text = f"mesh[{mesh}] {{{','.join(repr(f'a{i}') for i in sorted(used))}}}"
    kept = [i for i in range(len(sizes)) if i not in used]
    grid = np.arange(math.prod(sizes)).reshape(sizes).transpose([*kept, *sorted(used)])
    expected = grid.reshape(-1, math.prod(sizes[i] for i in used))
    assert parse_groups(text, num_partitions=grid.size) == tuple(map(tuple, expected.tolist()))


def test_a_part_of_a_mesh_axis_groups_by_that_part():
    # Of 8 = 2 * 4, the inner 4.
    groups = parse_groups("mesh['a'=8] {'a':(2)4}", num_partitions=8)
    assert groups == ((0, 1, 2, 3), (4, 5, 6, 7))
    groups = parse_groups("mesh['a'=8] {'a':(1)2}", num_partitions=8)
    assert groups == ((0, 4), (1, 5), (2, 6), (3, 7))


@pytest.mark.parametrize(
    "text",
    ["{{0,1}", "[2,3]<=[4]", "[2,2]<=[2,2]T(0,0)", "mesh['a'=4] {'b'}", "mesh['a'=4] {'a':(3)2}"]
    + ["all of them", "[4]"],
)
def test_groups_in_another_form_are_an_error(text):
    with pytest.raises(HloTextError):
        parse_groups(text, num_partitions=4)


def test_axes_are_those_along_which_a_group_differs():
    sizes = {"data": 2, "fsdp": 4, "model": 2}
    grid = np.arange(16).reshape(2, 4, 2)
    along_fsdp = tuple(map(tuple, grid.transpose(0, 2, 1).reshape(-1, 4).tolist()))
    assert axes_of(along_fsdp, axis_sizes=sizes) == ("fsdp",)
    both = tuple(map(tuple, grid.transpose(1, 0, 2).reshape(4, -1).tolist()))
    assert axes_of(both, axis_sizes=sizes) == ("data", "model")
    # Pairs of a ring along fsdp.
    ring = tuple((int(grid[0, i, 0]), int(grid[0, (i + 1) % 4, 0])) for i in range(4))
    assert axes_of(ring, axis_sizes=sizes) == ("fsdp",)
