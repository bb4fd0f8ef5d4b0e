from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axl_exp.dryrun.compiled.groups import axes_of, groups_of, parse_groups
from axl_exp.dryrun.compiled.hlo import HloTextError, parse_program


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


def test_groups_of_a_mesh_with_its_devices_in_another_order_are_read_from_an_instruction():
    # As libtpu writes the sum over the first axis of a mesh of 2 by 2.
    program = parse_program(
        "HloModule m, num_partitions=4\n\nENTRY %e (x: f32[2]) -> f32[2] {\n"
        "  %x = f32[2]{0} parameter(0)\n"
        "  ROOT %sum = f32[2]{0} all-reduce(%x), channel_id=86, "
        "replica_groups=mesh['axis_0'=2,'axis_1'=1,'axis_2'=2], device_ids=([2,2]T(1,0)) "
        "{'axis_0'}, use_global_device_ids=true, to_apply=%add\n}\n"
    )
    assert groups_of(program.entry.root, num_partitions=4) == ((0, 1), (2, 3))


def test_a_part_of_a_mesh_axis_groups_by_that_part():
    # Of 8 = 2 * 4, the inner 4.
    groups = parse_groups("mesh['a'=8] {'a':(2)4}", num_partitions=8)
    assert groups == ((0, 1, 2, 3), (4, 5, 6, 7))
    groups = parse_groups("mesh['a'=8] {'a':(1)2}", num_partitions=8)
    assert groups == ((0, 4), (1, 5), (2, 6), (3, 7))


def test_a_mesh_whose_devices_count_up_in_another_order():
    # As jaxlib 0.10.2 writes a gather along the second axis of 2 x 2 x 4.
    text = "mesh['axis_0'=2,'axis_1'=1,'axis_2'=8], device_ids=([2,2,4]T(1,0,2)) {'axis_0'}"
    groups = parse_groups(text, num_partitions=16)
    assert sorted(groups) == [(i, i + 4) for i in (0, 1, 2, 3, 8, 9, 10, 11)]


_GATHERS = """
import itertools, json, jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from axl_exp.dryrun.compiled.groups import groups_of
from axl_exp.dryrun.compiled.hlo import parse_program
mesh = Mesh(np.array(jax.devices()).reshape(2, 2, 2), ("a", "b", "c"))
whole = jax.jit(lambda x: x * 2, out_shardings=NamedSharding(mesh, P()))
found = {}
for axes in (p for n in (1, 2, 3) for p in itertools.permutations("abc", n)):
    split = NamedSharding(mesh, P(axes))
    x = jax.ShapeDtypeStruct((64, 64), np.float32, sharding=split)
    program = parse_program(whole.lower(x).compile().as_text())
    found["".join(axes)] = [
        groups_of(each, num_partitions=8)
        for computation in program.computations.values()
        for each in computation.instructions
        if each.opcode == "all-gather"
    ]
print(json.dumps(found))
"""


def test_groups_of_compiled_gathers_are_the_mesh_axes_that_they_go_along():
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    done = subprocess.run(
        [sys.executable, "-c", _GATHERS], env=environment, capture_output=True, text=True
    )
    found = json.loads(done.stdout)
    assert len(found) == 15
    grid = np.arange(8).reshape(2, 2, 2)
    for axes, gathers in found.items():
        used = sorted("abc".index(axis) for axis in axes)
        kept = [i for i in range(3) if i not in used]
        expected = grid.transpose(kept + used).reshape(-1, 2 ** len(used)).tolist()
        assert [sorted(map(sorted, groups)) for groups in gathers] == [sorted(expected)], axes


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
