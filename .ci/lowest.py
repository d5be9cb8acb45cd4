"""Print the lowest versions that pyproject.toml promises, as constraints for pip.

Torch stays at the version of constraints.txt: its oldest wheels draw gigabytes of libraries for GPUs.
"""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]
for requirement in [
    *project["dependencies"],
    *(r for name in ("report", "onnx", "scale", "stac") for r in extras[name]),
]:
    if found := re.fullmatch(r"([A-Za-z0-9_.-]+)(?:\[.*\])?>=([\d.]+)", requirement):
        print(f"{found[1]}=={found[2]}")
    else:
        raise SystemExit(f"{requirement} has no lower bound")
