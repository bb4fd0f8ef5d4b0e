"""The meshes of all rules, laid out over the chips of real topologies."""

from pathlib import Path

import numpy as np
import pytest

from axl_exp.dryrun.compiled.topology import devices_of, prepare_environment, topology_of
from axl_exp.mesh import MeshShape, parse_selector
from axl_exp.resolve import resolve
from axl_exp.train.devices import make_mesh

GOLDENS = Path(__file__).parents[3] / "configs_golden"


def _devices(selector):
    pytest.importorskip("libtpu")
    prepare_environment()
    return devices_of(topology_of(parse_selector(selector)))


def test_every_mesh_of_a_rule_can_be_laid_out_over_its_topology():
    configs = {}
    for path in sorted(GOLDENS.glob("*/mesh/tpu-*.txt")):
        lines = path.read_text().splitlines()
        # None where a golden is told by its base, or the rule says that the config cannot fit.
        for mesh in [line for line in lines if line.startswith("# mesh:")]:
            configs.setdefault((path.stem, mesh), path.parts[-3])
    assert len(configs) > 20
    for (selector, _), config in configs.items():
        devices = _devices(selector)
        shape = resolve(config, selector=selector).config.mesh_shape
        assert make_mesh(shape, devices).size == len(devices), (config, selector)


def test_an_axis_smaller_than_a_ring_takes_neighbours_of_it():
    mesh = make_mesh(MeshShape(fsdp=64, model=4), _devices("tpu-v5e-256"))
    for group in mesh.devices.reshape(64, 4):
        x, y = np.asarray([device.coords[:2] for device in group]).T
        along = x if len(set(y)) == 1 else y
        assert sorted(along - min(along)) == [0, 1, 2, 3]
        assert min(len(set(x)), len(set(y))) == 1
