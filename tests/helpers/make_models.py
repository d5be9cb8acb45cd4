"""Tiny super-resolution models: the package's own kind, and as somebody else would make them, of ONNX nodes."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sitsfuse.core.grid import GridPair
from sitsfuse.fusion.fuse import fuse
from sitsfuse.superresolution.card import ONNX, Card, Normalisation, write_card
from tests.helpers import scenes

BANDS = ("red", "nir")
ONE = [scenes.day(14)]


def network(tmp_path, factor=5.0, **more):
    """A CARN with random weights, for the scenes' bands."""
    return scenes.write_network(tmp_path / "model", BANDS, factor, **more)


def run(tree, folder, method="carn", **options):
    """Fuse one date of a site with a model."""
    return fuse(tree, method=method, options={"model": str(folder), "device": "cpu"} | options, dates=ONE)


def image_pair(ratio=5.0, offset=(0.0, 0.0), n=60):
    """The grids of the scenes."""
    return GridPair(*scenes.boxes(n, ratio, offset))


def message(error):
    """What the user reads: one line."""
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


def graph(folder, nodes, constants, shape=("n", 2, "h", "w"), kind=TensorProto.FLOAT, **card):
    """Write a model of ONNX nodes from x to y, and its card."""
    folder.mkdir(exist_ok=True)
    given = helper.make_tensor_value_info("x", kind, shape)
    result = helper.make_tensor_value_info("y", kind, None)
    initial = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    made = helper.make_model(
        helper.make_graph(nodes, "graph", [given], [result], initial), opset_imports=[helper.make_opsetid("", 17)]
    )
    made.ir_version = 8
    onnx.save(made, folder / ONNX)
    about = {
        "name": "foreign",
        "bands": BANDS,
        "factor": 2.0,
        "grid": 2,
        "halo": 0,
        "output": "image",
        "normalisation": Normalisation(scale=(1e-4, 0.5), mean=(0.0, 0.2)),
        "training_data": "nothing",
        "licence": "Apache-2.0",
    }
    write_card(Card(**about | card), folder)
    return folder


def repeat(grid, source="x"):
    """A node that repeats every pixel, and its constants."""
    node = helper.make_node(
        "Resize", [source, "", "scales"], ["y"], mode="nearest", nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )  # fmt: skip
    return node, {"scales": np.array([1, 1, grid, grid], np.float32)}
