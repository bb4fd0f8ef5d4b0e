import re

import pytest

from axl_exp.mesh import CHIPS, UnknownHardwareError, parse_selector, selector_of_devices


@pytest.mark.parametrize(
    ("text", "normal", "num_devices", "num_slices"),
    [
        ("cpu-8", "cpu-8", 8, 1),
        ("tpu-v5e-256", "tpu-v5e-256", 256, 1),
        ("tpu-v5litepod-256-4", "tpu-v5e-256-4", 1024, 4),
        ("tpu-v5litepod-256-1", "tpu-v5e-256", 256, 1),
        ("tpu-v4-1024", "tpu-v4-1024", 512, 1),
        ("tpu-v5p-512", "tpu-v5p-512", 256, 1),
        ("tpu-v6e-256-8", "tpu-v6e-256-8", 2048, 8),
        ("gpu-h100-64", "gpu-h100-64", 64, 1),
        ("gpu-a3-highgpu-8g-64", "gpu-h100-64", 64, 1),
        ("gpu-p5.48xlarge-256", "gpu-h100-256", 256, 1),
        ("gpu-p4de.24xlarge-512", "gpu-a100-512", 512, 1),
        ("gpu-p4d.24xlarge-256", "gpu-a100-40gb-256", 256, 1),
        ("gpu-a3-ultragpu-8g-8", "gpu-h200-8", 8, 1),
        ("v5litepod-256", "tpu-v5e-256", 256, 1),
        ("v4-8", "tpu-v4-8", 4, 1),
        ("TPU_V6E_16_2", "tpu-v6e-16-2", 32, 2),
        ("a100-80gb-8", "gpu-a100-8", 8, 1),
        ("a3-highgpu-8g", "gpu-h100-8", 8, 1),
        ("p5.48xlarge", "gpu-h100-8", 8, 1),
        ("p4de.24xlarge", "gpu-a100-8", 8, 1),
        ("ct5p-hightpu-4t", "tpu-v5p-8", 4, 1),
    ],
)
def test_every_name_of_a_hardware_has_one_normal_form(text, normal, num_devices, num_slices):
    selector = parse_selector(text)
    assert str(selector) == normal
    assert selector.num_devices == num_devices
    assert selector.num_slices == num_slices
    assert parse_selector(normal) == selector


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "tpu-v5-256",
            "Unknown TPU 'v5' in a hardware selector. "
            "Nearest: tpu-v5p-256, tpu-v5e-256, tpu-v4-256.",
        ),
        (
            "gpu-h10-8",
            "Unknown GPU 'h10' in a hardware selector. "
            "Nearest: gpu-h100-8, gpu-h200-8, gpu-a100-8.",
        ),
        (
            "tpu-v4-7",
            "tpu-v4-7: v4 slices are named by their TensorCores, 2 per chip, so the number must "
            "divide by 2.",
        ),
        (
            "cpu-0",
            "'cpu-0' is no hardware selector: write tpu-<chip>-<number>[-<slices>], "
            "gpu-<chip>-<gpus> or cpu-<devices>, such as tpu-v5e-256 or cpu-1.",
        ),
    ],
)
def test_an_unknown_hardware_names_the_nearest(text, error):
    with pytest.raises(UnknownHardwareError, match=f"^{re.escape(error)}$"):
        parse_selector(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("v5e256", "tpu-v5e-256"),
        ("tpu-v5e-16x16", "tpu-v5e-256"),
        ("v5p:8x8x16", "tpu-v5p-2048"),
        ("tpu-v5e-256-4-2", "tpu-v5e-256-4"),
        ("h100x8", "gpu-h100-8"),
        ("8xh100", "gpu-h100-8"),
        ("gpu-h100-8-2", "gpu-h100-16"),
        ("tpu-h100-8", "gpu-h100-8"),
        ("gpu-h100", "gpu-h100-8"),
        ("tpu-v4", "tpu-v4-8"),
        ("h200-0", "gpu-h200-8"),
        ("dgx h100", "gpu-h100-8"),
    ],
)
def test_a_known_chip_in_another_form_gets_the_selector_that_is_meant(text, meant):
    with pytest.raises(UnknownHardwareError) as error:
        parse_selector(text)
    assert str(error.value) == (
        f"{text!r} is no hardware selector: write tpu-<chip>-<number>[-<slices>], "
        f"gpu-<chip>-<gpus> or cpu-<devices>. Nearest: {meant}."
    )


@pytest.mark.parametrize(
    ("text", "near"),
    [("v3-8", "tpu-v4-8"), ("p5.4xlarge", "gpu-h100-8"), ("mi300x-8", "gpu-h200-8")],
)
def test_an_unknown_chip_without_a_platform_gets_the_nearest(text, near):
    with pytest.raises(UnknownHardwareError, match=rf"^Unknown chip '\S+'\. Nearest: {near}, "):
        parse_selector(text)


@pytest.mark.parametrize("text", ["", "-", "cpu", "cpu8", "tpu-", "ü", "x" * 5000, "9" * 5000])
def test_what_names_no_chip_is_told_the_form(text):
    with pytest.raises(UnknownHardwareError, match=r", such as tpu-v5e-256 or cpu-1\.$"):
        parse_selector(text)


@pytest.mark.parametrize(
    ("platform", "kind", "num_devices", "num_slices", "selector"),
    [
        ("cpu", "cpu", 8, 1, "cpu-8"),
        ("tpu", "TPU v5 lite", 512, 2, "tpu-v5e-256-2"),
        ("tpu", "TPU v4", 512, 1, "tpu-v4-1024"),
        ("gpu", "NVIDIA H100 80GB HBM3", 8, 1, "gpu-h100-8"),
        ("gpu", "NVIDIA H200", 1, 1, "gpu-h200-1"),
    ],
)
def test_the_devices_that_jax_found_have_a_selector(
    platform, kind, num_devices, num_slices, selector
):
    found = selector_of_devices(
        platform=platform, device_kind=kind, num_devices=num_devices, num_slices=num_slices
    )
    assert str(found) == selector
    assert found.num_devices == num_devices


def test_devices_that_the_table_lacks_are_an_error_not_a_guess():
    text = (
        "This machine's 'NVIDIA H100 PCIe' is not in axl_exp/mesh/hardware.py. Add it there, or "
        "name the nearest hardware with --mesh, such as gpu-<chip>-8."
    )
    with pytest.raises(UnknownHardwareError, match=f"^{re.escape(text)}$"):
        selector_of_devices(platform="gpu", device_kind="NVIDIA H100 PCIe", num_devices=8)


def test_every_chip_is_reached_by_every_name_and_device_kind():
    for chip in CHIPS:
        for name in chip.names:
            selector = parse_selector(f"{chip.platform}-{name}-{4 * chip.named_cores}")
            assert selector.chip is chip
            assert selector.num_devices == 4
        for kind in chip.device_kinds:
            found = selector_of_devices(platform=chip.platform, device_kind=kind, num_devices=1)
            assert found.chip is chip


def test_a_cpu_has_no_peak():
    assert parse_selector("cpu-1").chip is None
