"""What README.md and docs/ show can be run: Python and TOML blocks, options of command lines; links lead somewhere."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

import sitsfuse
from sitsfuse.core.site import group
from sitsfuse.preparation import read_config
from sitsfuse.superresolution.card import read_card
from sitsfuse.writers import write_geotiffs

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    if not any(part.startswith("_") for part in path.relative_to(ROOT).parts)  # made by `make docs`
)
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in PAGES}
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#([^)\s]+))?\)")


def blocks(language):
    """(page and number of the block, text) of the blocks of a language."""
    for page, words in TEXTS.items():
        found = re.findall(rf"^```{language}\n(.*?)^```", words, re.MULTILINE | re.DOTALL)
        for k, text in enumerate(found):
            yield pytest.param(text, id=f"{page}-{k}")


def command_lines():
    """Lines of blocks that call `sitsfuse`, without their comments."""
    for page, words in TEXTS.items():
        for line in words.splitlines():
            if found := re.match(r"(?: {4}|\$ )(?:\S*/)?sitsfuse (\w.*)", line):
                yield pytest.param(shlex.split(found[1], comments=True), id=f"{page}: {found[1][:60]}")


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A working folder with guide/ and target/, as README's reader has them."""
    monkeypatch.chdir(tmp_path)
    site = sitsfuse.simulate(size=50, guides=4, targets=6, seed=1)
    for name in ("guide", "target"):
        write_geotiffs(group(site, name), tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("text", list(blocks("python")))
def test_python_runs(folders, text):
    exec(compile(text, "block", "exec"), {})


@pytest.mark.slow
def test_python_is_typed(tmp_path):
    """All blocks pass mypy --strict, in one run."""
    pytest.importorskip("mypy")
    files = []
    for block in blocks("python"):
        files.append(tmp_path / f"{re.sub(r'[^a-z0-9]', '_', block.id.lower())}.py")
        files[-1].write_text(block.values[0], encoding="utf-8")
    assert files
    # With the cache that `make lint` leaves in the checkout, it takes a few seconds.
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", f"--config-file={ROOT / 'pyproject.toml'}", *map(str, files)],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("text", list(blocks("toml")))
def test_toml_is_read(tmp_path, cli, text):
    if "fuse" in tomllib.loads(text):  # options of commands
        (tmp_path / "options.toml").write_text(text)
        for command in ("fuse", "evaluate"):
            done = cli(command, "--config", tmp_path / "options.toml", "--dump-config")
            assert done.code == 0, done.err
        return
    if "guide" not in tomllib.loads(text):  # the card of a model
        (tmp_path / "card.toml").write_text(text)
        assert read_card(tmp_path).bands
        return
    # A block may show one table only; paths of products may be given above it.
    given = tomllib.loads(text)
    paths = "".join(f'{role}.path = "there"\n' for role in ("guide", "target") if "path" not in given.get(role, {}))
    (tmp_path / "site.toml").write_text(paths + text)
    assert read_config(tmp_path / "site.toml").guide


@pytest.mark.parametrize("arguments", list(command_lines()))
def test_commands_and_their_options_exist(arguments):
    from sitsfuse.cli.app import app

    command = typer.main.get_command(app)
    rest = list(arguments)
    while hasattr(command, "commands"):
        name = rest.pop(0)
        assert name in command.commands, f"no command {name}"
        command = command.commands[name]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    used = {word.split("=")[0] for word in rest if word.startswith("-")}
    assert used <= known | {"-h", "--help"}, used - known


def anchors(words):
    """Fragments that lead to the headings of a page, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.*)$", words, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_to_files_and_headings(page):
    for path, fragment in LINK.findall(TEXTS[page]):
        there = (ROOT / page).parent / path
        assert there.exists(), path
        if fragment:
            assert fragment in anchors(there.read_text(encoding="utf-8")), f"{path}#{fragment}"


def test_readme_is_short_and_needs_no_environment_of_its_own():
    assert len(TEXTS["README.md"].split()) <= 900
    assert [page for page, words in TEXTS.items() if ".venv/bin/" in words and page != "CONTRIBUTING.md"] == []


SERIES = {
    "Sentinel-2, Portugal 1, ratio 5": "`s2_portugal_1` ×5",
    "Sentinel-2, Portugal 2, ratio 5": "`s2_portugal_2` ×5",
    "Sentinel-2, Portugal 3, ratio 5": "`s2_portugal_3` ×5",
    "Sentinel-2 and Landsat-8, Belgium, ratio 1.5": "`s2_l8_belgium` ×1.5",
    "Landsat-8 and MODIS, NDVI, ratio 8": "`l8_modis_ndvi` ×8",
}


@pytest.mark.parametrize("page", ["README.md", "paper/paper.md"])
def test_the_short_table_is_that_of_measured(page):
    """Each figure of README and paper is one of docs/measured.md, rounded; the best of a row is in bold in README."""
    measured, series = {}, ""
    for first, method, rmse in re.findall(
        r"^\| (.*?) ?\| `([\w+]+)` \| (0\.\d+) \|", TEXTS["docs/measured.md"], re.MULTILINE
    ):
        series = first.split(",")[0] or series
        measured.setdefault((series, method), float(rmse))
    text = (ROOT / page).read_text(encoding="utf-8")
    for shown, key in SERIES.items():
        cells = re.search(rf"^\| {re.escape(shown)} \|(.*)\|$", text, re.MULTILINE)[1].split("|")
        expected = [f"{measured[key, method]:.4f}" for method in ("ddi", "starfm", "estarfm", "robot")]
        assert [cell.strip(" *") for cell in cells] == expected, shown
        if page == "README.md":
            bold = ["**" in cell for cell in cells]
            assert bold == [value == min(expected) for value in expected], shown
