"""The package's face: every public name is there, and reaching one brings no library that it does not need."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import sitsfuse


def loaded(code):
    """Names of all modules after running some code in a new process."""
    script = f"import json, sys\n{code}\nprint(json.dumps(list(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_every_public_name_is_announced_typed_and_there():
    tree = ast.parse(Path(sitsfuse.__file__).read_text(encoding="utf-8"))
    typed = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            typed |= {alias.name: node.module for alias in node.names}
    assert typed.pop("__version__") == "version"
    assert typed == sitsfuse._WHERE
    assert {*typed, "__version__"} == {*sitsfuse.__all__}
    for name in sitsfuse.__all__:
        assert getattr(sitsfuse, name).__name__ == name if name != "__version__" else sitsfuse.__version__


def test_help_needs_no_array_library():
    found = loaded(
        "sys.argv = ['sitsfuse', '--help']\nfrom sitsfuse.cli import main\ntry: main()\nexcept SystemExit: pass"
    )
    assert not found & {"numpy", "xarray", "pandas", "zarr", "rasterio", "dask", "pydantic", "torch"}


@pytest.mark.parametrize("name", ["fuse", "open_site", "simulate", "prepare", "train"])
def test_what_is_reached_brings_no_heavy_library(name):
    found = loaded(f"import sitsfuse; sitsfuse.{name}")
    assert not found & {
        "scipy.stats",
        "scipy.optimize",
        "numba",
        "torch",
        "matplotlib",
        "distributed",
        "eodag",
        "typer",
    }


def test_the_methods_are_imported_when_they_are_asked_for():
    found = loaded("import sitsfuse; sitsfuse.fuse; from sitsfuse.methods import method_names; method_names()")
    assert {m for m in found if m.startswith("sitsfuse.methods.")} <= {
        "sitsfuse.methods.base",
        "sitsfuse.methods.registry",
    }
