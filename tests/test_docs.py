"""What README.md and docs/ show can be run: Python and TOML blocks, and the options of every command line."""

import re
import shlex
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
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def blocks(language):
    """(page and number of the block, text) of the blocks of a language."""
    for page in PAGES:
        found = re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        for k, text in enumerate(found):
            yield pytest.param(text, id=f"{page.relative_to(ROOT)}-{k}")


def command_lines():
    """Lines of blocks that call `sitsfuse`, without their comments."""
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").splitlines():
            if found := re.match(r"(?: {4}|\$ )(?:\S*/)?sitsfuse (\w.*)", line):
                yield pytest.param(shlex.split(found[1], comments=True), id=f"{page.name}: {found[1][:60]}")


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


@pytest.mark.parametrize("text", list(blocks("toml")))
def test_toml_is_read(tmp_path, text):
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
