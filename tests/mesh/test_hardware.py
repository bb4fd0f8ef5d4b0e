import pytest

from axl_exp.mesh import CHIPS, chip_of_device_kind, find_chip
from axl_exp.mesh.machines import MACHINES

# bf16 dense TFLOP/s, memory in GB (10^9 or 2^30, as the vendor means it), TB/s.
PUBLISHED = {
    "v4": (275, 32, 1.23),
    "v5e": (197, 16, 0.82),
    "v5p": (459, 95, 2.77),
    "v6e": (918, 32, 1.64),
    "a100": (312, 80, 2.04),
    "h100": (989, 80, 3.35),
    "h200": (989, 141, 4.8),
    "b200": (2250, 180, 8.0),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_constants_are_the_published_ones(name):
    (chip,) = (c for c in CHIPS if c.name == name)
    teraflops, gigabytes, terabytes_per_second = PUBLISHED[name]
    assert chip.peak_flops_per_second == teraflops * 1e12
    assert chip.hbm_bytes in (gigabytes * 10**9, gigabytes * 2**30)
    assert chip.hbm_bytes_per_second / 1e12 == pytest.approx(terabytes_per_second, abs=0.006)


@pytest.mark.parametrize(
    ("name", "int8", "float8"),
    # The same documents' dense TOPS and TFLOPS; no fp8 is a product of bfloat16 there.
    [
        ("v4", 275, 275),
        ("v5e", 394, 197),
        ("v5p", 918, 459),
        ("v6e", 1836, 918),
        ("a100", 624, 312),
        ("h100", 1979, 1979),
        ("b200", 4500, 4500),
    ],
)
def test_products_of_8_bits_go_at_their_published_rate(name, int8, float8):
    (chip,) = (c for c in CHIPS if c.name == name)
    assert chip.peak_of("int8") / 1e12 == pytest.approx(int8, rel=1e-3)
    assert chip.peak_of("float8") / 1e12 == pytest.approx(float8, rel=1e-3)
    assert chip.peak_of("") == chip.peak_flops_per_second


def test_every_chip_names_the_source_of_its_constants():
    assert all(chip.source for chip in CHIPS)


def test_a_device_kind_must_match_exactly():
    assert chip_of_device_kind("NVIDIA H100 80GB HBM3") is find_chip("h100", platform="gpu")
    assert chip_of_device_kind("NVIDIA H100 PCIe") is None
    assert chip_of_device_kind("cpu") is None


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    # Of the smallest machine type per chip: "TPUs in GKE" (48 and 112 GB per chip of v5e and v5p),
    # a3-highgpu-8g 1872 GB, p5e.48xlarge 2048 GiB.
    [("v4", 407 / 4), ("v5e", 48), ("v5p", 112), ("v6e", 176), ("h100", 234), ("h200", 274.9)],
)
def test_four_fifths_of_the_smallest_hosts_memory_is_for_a_step(name, gigabytes):
    (chip,) = (c for c in CHIPS if c.name == name)
    assert chip.usable_host_bytes / 1e9 == pytest.approx(0.8 * gigabytes, rel=1e-3)


def test_every_machine_type_holds_a_chip_of_the_table():
    assert {machine.chip for machine in MACHINES} == {chip.name for chip in CHIPS}
