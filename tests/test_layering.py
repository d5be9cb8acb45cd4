"""Modules import downwards only, and heavy libraries stay where they belong."""

import ast
from pathlib import Path

import pytest

import sitsfuse

PACKAGE = Path(sitsfuse.__file__).parent

LAYERS = [
    {"errors"},
    {"grid", "sensors", "robust", "displacement", "select"},
    {"timeline", "degrade"},
    {"series"},
    {"resample", "warp"},
    {"readers", "writers"},
    {"modelcard"},
    {"simulator"},
    {"info"},
    {"threads", "memory"},
    {"harmonize"},
    {"correlate", "tiepoints", "fields", "coregister"},
    {"methods"},
    {"engine", "outputs"},
    {"metrics", "frequency", "streaming"},
    {"strata"},
    {"evaluation"},
    {"results", "protocols"},
    {"scores"},
    {"ranking", "claims"},
    {"figure", "pages", "catalogue"},
    {"demonstration", "preparation", "training", "benchmarking"},
    {"cli", "cli_benchmark", "cli_train", "parsing", "progress"},
]
"""From the bottom to the top. A module imports what lies below it or beside it, as long as that makes no circle."""

ONLY_IN = {
    "torch": ("methods.ddi", "methods.carn_network", "training", "readers.sen2venus", "threads"),
    "onnxruntime": ("methods.carn_model", "training.finish"),
    "onnx": ("training.finish",),
    "matplotlib": ("figure", "pages"),
    "jinja2": ("pages",),
    "PIL": ("pages",),
    "eodag": ("catalogue",),
    "numba": ("methods._window", "metrics._kernels"),
}
"""Libraries that only some modules may import, by the beginning of the modules' names."""

FACADE = {"__init__", "__main__"}
"""Lie above everything: they import what users see."""


def modules():
    """Dotted name within the package and path of every module."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        found[name] = path
    return found


def imports(name, path):
    """Absolute names of the modules that a module imports, also inside functions."""
    is_package = path.name == "__init__.py"
    here = ["sitsfuse", *(name.split(".") if name != "__init__" else [])]
    if not is_package:
        here = here[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            full = ".".join([*base, *([node.module] if node.module else [])])
            # `from . import grid` names modules, `from .grid import tiles` does not.
            yield from (f"{full}.{alias.name}" for alias in node.names) if full == "sitsfuse" else [full]


def layer(name):
    """Height of a module; that of the facade is above all."""
    top = name.split(".")[0]
    if top in FACADE:
        return len(LAYERS)
    heights = [k for k, names in enumerate(LAYERS) if top in names]
    assert heights, f"{top} is in no layer: add it to LAYERS"
    return heights[0]


def inner(target):
    """The top-level module of the package that an import refers to, or None for another library or a plain name."""
    parts = target.split(".")
    if parts[0] != "sitsfuse" or len(parts) < 2:
        return None
    return parts[1] if (PACKAGE / parts[1]).is_dir() or (PACKAGE / f"{parts[1]}.py").exists() else None


@pytest.mark.parametrize(("name", "path"), modules().items(), ids=modules())
def test_imports_go_downwards(name, path):
    for target in imports(name, path):
        below = inner(target)
        if below is not None and below != name.split(".")[0]:
            assert layer(below) <= layer(name), f"{name} imports {below}, which lies above it"


def test_no_two_modules_import_each_other():
    graph = {}
    for name, path in modules().items():
        top = name.split(".")[0]
        graph.setdefault(top, set()).update({inner(t) for t in imports(name, path)} - {None, top})

    def visit(node, path):
        assert node not in path, f"circle: {' -> '.join([*path, node])}"
        for other in graph.get(node, ()):
            visit(other, [*path, node])

    for node in graph:
        visit(node, [])


@pytest.mark.parametrize(("name", "path"), modules().items(), ids=modules())
def test_heavy_libraries_stay_where_they_belong(name, path):
    for target in imports(name, path):
        allowed = ONLY_IN.get(target.split(".")[0])
        if allowed is not None:
            assert name.startswith(allowed), f"{name} imports {target}: only {', '.join(allowed)} may"


def test_the_check_sees_every_form_of_import(tmp_path):
    """The parser above finds what it is meant to find."""
    source = tmp_path / "sample.py"
    source.write_text(
        "import torch.nn\nfrom . import grid\nfrom .series import check\nfrom ..errors import InputError\n"
        "def f():\n    from sitsfuse.cli import main\n    import matplotlib.pyplot as plt\n"
    )
    assert set(imports("sample", source)) == {
        "torch.nn",
        "sitsfuse.grid",
        "sitsfuse.series",
        "errors",
        "sitsfuse.cli",
        "matplotlib.pyplot",
    }
    assert set(imports("methods.sample", source)) >= {"sitsfuse.methods.series", "sitsfuse.errors"}
    assert inner("sitsfuse.cli") in (None, "cli")
    assert layer("series") > layer("grid")
