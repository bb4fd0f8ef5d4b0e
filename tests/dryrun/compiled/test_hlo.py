from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axl_exp.dryrun.compiled.frames import layers_by_frame
from axl_exp.dryrun.compiled.hlo import Array, HloTextError, parse_arrays, parse_program
from axl_exp.dryrun.compiled.owners import Owners
from tests.dryrun.compiled.programs import LOOP


def test_a_program_is_its_computations_in_order():
    program = parse_program(LOOP)
    assert list(program.computations) == [
        *("add", "scatter", "product", "body", "scale", "condition", "main")
    ]
    assert program.entry.name == "main"
    assert (program.num_partitions, program.is_scheduled) == (8, True)
    loop = program.entry.by_name["loop"]
    assert loop.called == {"condition": ("condition",), "body": ("body",)}
    assert [a.dims for a in loop.arrays] == [(), (64, 256), (32, 512)]
    assert program.entry.by_name["begin"].operands == ("zero", "state", "w")


def test_attributes_are_read_whole_whatever_brackets_and_quotes_hold():
    (line,) = (
        i
        for i in parse_program(
            "HloModule m\n\nENTRY %e () -> f32[2] {\n"
            '  ROOT %c = f32[2]{0} custom-call(), custom_call_target="a,b)\\"{", '
            "replica_groups=mesh['x'=2,'y'=4] {'y'}, "
            'metadata={op_name="jit(f)/g" stack_frame_id=7}, backend_config={"a":[{"b":","}]}\n}\n'
        ).entry.instructions
    )
    assert line.attribute("custom_call_target") == '"a,b)\\"{"'
    assert line.attribute("replica_groups") == "mesh['x'=2,'y'=4] {'y'}"
    assert line.attribute("backend_config") == '{"a":[{"b":","}]}'
    assert line.attribute("groups") is None
    assert line.op_name == "jit(f)/g"


def test_an_instruction_goes_on_where_an_attribute_breaks_the_line():
    program = parse_program(
        "HloModule m\n\nENTRY %e () -> f32[] {\n"
        '  ROOT %k = f32[] custom-call(), frontend_attributes={kernel_metadata={\n"a":"b"\n}}, '
        'metadata={op_name="here"}\n}\n'
    )
    assert program.entry.root.op_name == "here"


def test_bytes_count_bits_and_tiles():
    bf16, int4, pred = parse_arrays("(bf16[3,5]{1,0:T(8,128)(2,1)}, s4[9]{0}, pred[])")
    assert [a.num_bytes for a in (bf16, int4, pred)] == [30, 5, 1]
    # The minor dim of 5 fills 128 columns, the other 8 rows.
    assert bf16.padded_bytes == 8 * 128 * 2
    assert Array("f32", (3, 5), "0,1:T(8,128)S(5)").padded_bytes == 8 * 128 * 4
    assert Array("f32", (3, 5), "0,1:T(8,128)S(5)").memory_space == 5


@given(st.integers(0, LOOP.count("\n") - 1))
def test_a_program_that_is_cut_off_is_an_error(num_lines):
    with pytest.raises(HloTextError, match="compiled program"):
        parse_program("\n".join(LOOP.splitlines()[:num_lines]))


@given(st.text(max_size=200))
def test_any_other_text_is_an_error(text):
    with pytest.raises(HloTextError):
        parse_program(text)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("  %a = f32[2]{0}", "no operation"),
        ("  what is this", "no instruction"),
        ("  %a = f32[2]{0} add(%b, %c", "stays open"),
        ('  %a = f32[2]{0} add(%b), metadata={op_name="x', None),
    ],
)
def test_a_line_that_is_no_instruction_is_named(line, said):
    text = f"HloModule m\n\nENTRY %e () -> f32[] {{\n  ROOT %r = f32[] constant(0)\n{line}\n}}\n"
    if said is None:
        program = parse_program(text)
        with pytest.raises(HloTextError, match="no end"):
            program.entry.instructions[1].attribute("metadata")
        return
    with pytest.raises(HloTextError, match=said):
        parse_program(text)


def test_unknown_element_types_are_errors():
    with pytest.raises(HloTextError, match=r"f7\[2\]"):
        parse_arrays("f7[2]{0}")
    with pytest.raises(HloTextError, match="<=4"):
        parse_arrays("f32[<=4]{0}")


def test_an_operation_belongs_to_the_layers_that_called_it():
    head = """HloModule m

FunctionNames
1 "Decoder.__call__"
2 "Linear.__call__"
3 "project"
4 "<module>"

FileLocations
1 {file_name_id=1 function_name_id=1 line=1}
2 {file_name_id=1 function_name_id=2 line=2}
3 {file_name_id=1 function_name_id=3 line=3}
4 {file_name_id=1 function_name_id=4 line=4}

StackFrames
1 {file_location_id=4 parent_frame_id=1}
2 {file_location_id=1 parent_frame_id=2}
3 {file_location_id=2 parent_frame_id=3}
4 {file_location_id=3 parent_frame_id=4}

"""
    assert layers_by_frame(head) == {2: "Decoder", 3: "Decoder/Linear", 4: "Decoder/Linear"}
    text = head + LOOP.partition("\n\n")[2]
    program, owners = parse_program(text), Owners.of_text(text)
    body = program.computation("body").by_name
    assert owners.owner(body["gather"]) == "Decoder/Linear, forward"
    assert owners.owner(body["early"]) == "loss, forward"
    assert owners.owner(program.entry.by_name["state"]) == "params/decoder/head"
    assert owners.owner(body["next"]) == ""
