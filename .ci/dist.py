"""Build wheel and sdist, install each into an empty environment and use it: `make dist`.

The wheel alone must fuse without any extra and name the extras that are missing, in one line; with `report` it must run
`report` and `prepare`. What a checkout holds beside the package must not be needed, so all runs elsewhere.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
INSIDE = (
    "py.typed",
    "drawing/templates/base.html.j2",
    "reporting/templates/benchmark.html.j2",
    "superresolution/models/",
)
"""Files beside the code that must be in the wheel."""


def run(*command: str | Path, cwd: Path, expect: int = 0) -> str:
    """Run a command without this checkout on its path; its output, or exit."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != expect:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}, not {expect}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def empty(folder: Path, package: str) -> Path:
    """An environment with nothing but the package in it; its folder of programs."""
    venv.create(folder, with_pip=True, clear=True)
    run(folder / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", package, cwd=folder)
    return folder / "bin"


def main() -> None:
    """Build, install, use."""
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", dist, ROOT, cwd=ROOT)
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in INSIDE:
        if not any(name.startswith(f"sitsfuse/{wanted}") for name in names):
            sys.exit(f"{wheel.name} lacks sitsfuse/{wanted}")
    with tempfile.TemporaryDirectory() as name:
        there = Path(name)
        bin_ = empty(there / "wheel", str(wheel))
        sitsfuse = bin_ / "sitsfuse"
        run(sitsfuse, "--version", cwd=there)
        run(sitsfuse, "simulate", "-o", "site.zarr", "--size", "100", "--guides", "4", "--targets", "2", cwd=there)
        run(sitsfuse, "info", "site.zarr", cwd=there)
        run(sitsfuse, "fuse", "site.zarr", "-o", "fused", "-q", cwd=there)
        for command, extra in (
            (("fuse", "site.zarr", "-o", "carn", "--method", "carn"), "onnx"),
            (("train", "carn", "site.zarr", "-o", "model"), "torch"),
            (("demo",), "report"),
            (("fuse", "site.zarr", "-o", "far", "--scheduler", "tcp://127.0.0.1:1"), "scale"),
        ):
            said = run(sitsfuse, *command, cwd=there, expect=2).strip()
            if len(said.splitlines()) != 1 or f"sitsfuse[{extra}]" not in said:
                sys.exit(f"sitsfuse {' '.join(command)} does not name its extra in one line:\n{said}")
        run(bin_ / "python", "-m", "pip", "install", "-q", f"{wheel}[report]", cwd=there)
        methods = "temporal,difference"
        run(sitsfuse, "benchmark", "site.zarr", "-o", "results", "--methods", methods, "--jobs", "0", "-q", cwd=there)
        run(sitsfuse, "report", "results", "-q", cwd=there)
        run(sitsfuse, "prepare", "site.zarr/guide", "site.zarr/target", "-o", "prepared.zarr", "-q", cwd=there)
        for page in ("results/report.html", "prepared.zarr/prepare.html"):
            if not (there / page).is_file():
                sys.exit(f"{page} was not made")
        other = empty(there / "sdist", str(sdist))
        run(other / "sitsfuse", "methods", cwd=there)
    print(f"{wheel.name} and {sdist.name}: built, installed, used")


if __name__ == "__main__":
    main()
