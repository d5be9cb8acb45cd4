"""Packages import downwards only, and heavy libraries stay where they belong."""

import ast
from pathlib import Path

import pytest

import sitsfuse

PACKAGE = Path(sitsfuse.__file__).parent

ORDER = [
    "version",
    "errors",
    # the ground
    "core",
    "runtime",
    "stats",
    "operators",
    "drawing",
    # 1 read
    "readers",
    "writers",
    "catalogue",
    # 2 prepare
    "registration",
    "radiometry",
    "preparation",
    "simulator",
    # 3 fuse
    "superresolution",
    "methods",
    "fusion",
    # 4 evaluate
    "metrics",
    "evaluation",
    "benchmarking",
    "studies",
    # 5 report
    "reporting",
    "demonstration",
    "cli",
]
"""From the bottom to the top: a package imports only what stands above it in this list."""

ONLY_IN = {
    "torch": {"methods.ddi", "superresolution", "runtime.threads", "runtime.devices"},
    "onnxruntime": {"superresolution"},
    "onnx": {"superresolution"},
    "numba": {"runtime.compiled"},
    "matplotlib": {"drawing", "preparation.page", "reporting", "superresolution.training"},
    "jinja2": {"drawing"},
    "PIL": {"reporting"},
    "eodag": {"catalogue"},
    "odc.stac": {"readers.products"},
    "typer": {"cli"},
    "rich": {"cli"},
}
"""Libraries that only these packages may import."""

PURE = {"core", "stats", "operators", "metrics"}
"""Packages that open no file and know neither progress nor the command line."""
OPENS = {"rasterio", "zarr", "json", "shutil", "tempfile", "zipfile", "tarfile", "sitsfuse.runtime.files"}
"""What a package that opens no file has no use for; `rasterio.warp` changes coordinates, and no more."""


def modules():
    """Dotted name within sitsfuse, and path, of every module; the facade's are ``__init__`` and ``__main__``."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts), path


def imports(name, path):
    """Absolute names that a module imports, also inside functions; of another of our modules, down to the module."""
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
            for alias in node.names:
                inside = PACKAGE.joinpath(*full.split(".")[1:], alias.name)
                is_module = full.startswith("sitsfuse") and (inside.is_dir() or inside.with_suffix(".py").exists())
                yield f"{full}.{alias.name}" if is_module else full


def within(name, packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def top(name):
    return name.split(".")[0]


BY_PACKAGE = {}
for module, where in modules():
    BY_PACKAGE.setdefault(top(module), {})[module] = set(imports(module, where))


def test_every_package_has_its_place():
    assert set(BY_PACKAGE) - {"__init__", "__main__"} == set(ORDER)
    assert sum(path.suffix == ".py" for path in PACKAGE.iterdir()) <= 5


@pytest.mark.parametrize("package", ORDER)
def test_a_package_imports_only_what_lies_below(package):
    below = set(ORDER[: ORDER.index(package) + 1])
    for name, targets in BY_PACKAGE[package].items():
        for target in targets:
            if top(target) == "sitsfuse":
                inner = target.split(".")[1:2]
                assert inner, f"{name} imports the facade: import from where the thing lies"
                assert inner[0] in below, f"{name} imports {target}, which does not lie below {package}"


@pytest.mark.parametrize("package", ORDER)
def test_heavy_libraries_stay_where_they_belong(package):
    for name, targets in BY_PACKAGE[package].items():
        for target in targets:
            for library, allowed in ONLY_IN.items():
                if within(target, {library}):
                    assert within(name, allowed), f"{name} imports {target}: only {', '.join(sorted(allowed))} may"


@pytest.mark.parametrize("package", sorted(PURE))
def test_the_ground_opens_no_file(package):
    for name, targets in BY_PACKAGE[package].items():
        for target in targets:
            assert target == "rasterio.warp" or not within(target, OPENS), (
                f"{name} imports {target}: {package} opens no file"
            )


def test_no_two_modules_import_each_other():
    graph = {
        name: {t.removeprefix("sitsfuse.") for t in targets if top(t) == "sitsfuse"} - {name}
        for found in BY_PACKAGE.values()
        for name, targets in found.items()
    }
    done = set()

    def visit(node, path):
        assert node not in path, f"circle: {' -> '.join([*path, node])}"
        if node not in done:
            for other in graph.get(node, ()):
                visit(other, [*path, node])
            done.add(node)

    for node in graph:
        visit(node, [])


def test_the_check_sees_every_form_of_import(tmp_path):
    source = tmp_path / "sample.py"
    source.write_text(
        "import torch.nn\nfrom . import grid\nfrom .series import check\nfrom ..errors import InputError\n"
        "def f():\n    from sitsfuse.cli import main\n    import matplotlib.pyplot as plt\n"
    )
    assert set(imports("core.sample", source)) == {
        "torch.nn",
        "sitsfuse.core.grid",
        "sitsfuse.core.series",
        "sitsfuse.errors",
        "sitsfuse.cli.main",
        "matplotlib.pyplot",
    }
    assert within("torch.nn", {"torch"})
    assert not within("torchvision", {"torch"})
