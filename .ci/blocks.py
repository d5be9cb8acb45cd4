"""Write the Python blocks of README.md and docs/ to a folder, for mypy: what a reader copies passes when typed."""

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main(folder: Path) -> None:
    """A module per block, named after its page."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        name = re.sub(r"\W", "_", str(page.relative_to(ROOT).with_suffix(""))).lower()
        found = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        for k, text in enumerate(found):
            (folder / f"block_{name}_{k}.py").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
