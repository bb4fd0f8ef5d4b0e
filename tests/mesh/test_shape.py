import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axl_exp.mesh import (
    MESH_AXES,
    HybridMeshShape,
    MeshShape,
    MeshShapeError,
    axis_sizes,
    describe_mesh_shape,
    infer_mesh_shape,
    num_batch_shards,
    split_over_slices,
)


def sizes_of(**sizes: int) -> dict[str, int]:
    return {axis: sizes.get(axis, 1) for axis in MESH_AXES}


def test_the_open_axis_takes_the_devices_that_the_others_leave():
    shape = infer_mesh_shape(MeshShape(data=-1, fsdp=256), num_devices=1024)
    assert axis_sizes(shape) == sizes_of(data=4, fsdp=256)


def test_the_given_shape_stays_as_it_is():
    shape = MeshShape(fsdp=-1)
    infer_mesh_shape(shape, num_devices=8)
    assert shape.fsdp == -1


@given(
    sizes=st.lists(st.integers(1, 4), min_size=6, max_size=6),
    open_axis=st.sampled_from(MESH_AXES),
)
def test_inference_undoes_the_removal_of_any_one_size(sizes, open_axis):
    whole = dict(zip(MESH_AXES, sizes, strict=True))
    shape = MeshShape(**{**whole, open_axis: -1})
    assert axis_sizes(infer_mesh_shape(shape, num_devices=math.prod(sizes))) == whole


def test_a_hybrid_shape_is_inferred_in_two_parts():
    shape = HybridMeshShape(ici=MeshShape(fsdp=-1), dcn=MeshShape(data=-1))
    resolved = infer_mesh_shape(shape, num_devices=512, num_slices=2)
    assert axis_sizes(resolved) == sizes_of(data=2, fsdp=256)
    assert describe_mesh_shape(resolved) == "in a slice fsdp=256; over slices data=2"


def test_batch_shards_count_data_expert_and_fsdp_but_not_seq_or_model():
    shape = MeshShape(pipeline=2, data=3, expert=5, fsdp=7, seq=11, model=13)
    assert num_batch_shards(shape) == 3 * 5 * 7


@pytest.mark.parametrize(
    ("shape", "num_devices", "text"),
    [
        (
            MeshShape(data=-1, fsdp=16),
            8,
            "mesh_shape data=-1, fsdp=16: fsdp=16 does not divide the number of devices, 8. "
            "Would do: fsdp=1|2|4|8.",
        ),
        (
            MeshShape(data=4, fsdp=8),
            16,
            "mesh_shape data=4, fsdp=8: data=4 * fsdp=8 = 32 is not the number of devices, 16. "
            "Would do: data=2, or fsdp=4.",
        ),
        (
            MeshShape(data=3, fsdp=5),
            16,
            "mesh_shape data=3, fsdp=5: data=3 * fsdp=5 = 15 is not the number of devices, 16. "
            "Set one axis to -1.",
        ),
        (
            MeshShape(),
            8,
            "mesh_shape 1 device: 1 is not the number of devices, 8. Would do: one axis -1.",
        ),
        (
            MeshShape(data=-1, model=-1),
            8,
            "mesh_shape data=-1, model=-1: only one axis can be -1; give data or model a size.",
        ),
        (
            MeshShape(fsdp=0),
            8,
            "mesh_shape fsdp=0: fsdp must be at least 1, or -1 for all that remain.",
        ),
        (
            HybridMeshShape(ici=MeshShape(fsdp=6), dcn=MeshShape(data=-1)),
            8,
            "mesh_shape.ici fsdp=6: fsdp=6 is not the number of devices per slice, 8. "
            "Would do: fsdp=8.",
        ),
    ],
)
def test_a_shape_that_does_not_fit_names_the_sizes_that_would_do(shape, num_devices, text):
    with pytest.raises(MeshShapeError, match=f"^{re.escape(text)}$"):
        infer_mesh_shape(shape, num_devices=num_devices)


def test_devices_that_do_not_form_equal_slices_are_an_error():
    shape = HybridMeshShape(ici=MeshShape(fsdp=-1), dcn=MeshShape(data=-1))
    with pytest.raises(MeshShapeError, match=r"^9 devices do not form 2 equal slices\.$"):
        infer_mesh_shape(shape, num_devices=9, num_slices=2)


def test_slices_lie_along_the_outermost_axis():
    hybrid = split_over_slices(MeshShape(data=8, fsdp=64), num_slices=4)
    assert axis_sizes(hybrid.ici) == sizes_of(data=2, fsdp=64)
    assert axis_sizes(hybrid.dcn) == sizes_of(data=4)


def test_an_outermost_axis_that_the_slices_do_not_divide_is_an_error():
    text = (
        "mesh_shape data=2, fsdp=256 cannot lie over 4 slices: its outermost axis data=2 does not "
        "divide by 4. Give a HybridMeshShape."
    )
    with pytest.raises(MeshShapeError, match=f"^{re.escape(text)}$"):
        split_over_slices(MeshShape(data=2, fsdp=256), num_slices=4)
