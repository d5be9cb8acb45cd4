"""What every command shares: exit statuses, one line per error, completion."""

import os
import re
import subprocess
import sys

import pytest

from sitsfuse.cli import main as run
from sitsfuse.simulator import simulate
from sitsfuse.writers import write_site


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs the command line with a function in the place of the parser; exit status and what it said."""
    module = sys.modules["sitsfuse.cli.main"]

    def inner(parser, *arguments):
        monkeypatch.setattr(sys, "argv", ["sitsfuse", *arguments])
        monkeypatch.setattr(module, "app", parser)
        with pytest.raises(SystemExit) as stopped:
            run()
        return stopped.value.code, capsys.readouterr().err

    return inner


def raising(error):
    """A parser that fails."""

    def parser(**_):
        raise error

    return parser


def test_interruption_exits_130_with_one_line(call):
    code, said = call(raising(KeyboardInterrupt()))
    assert code == 130
    assert said == "sitsfuse: interrupted; run it again to go on where it was\n"


@pytest.mark.parametrize(
    ("module", "extra"), [("jinja2", "report"), ("PIL", "report"), ("torch", "torch"), ("distributed", "scale")]
)
def test_a_missing_library_names_its_extra(call, module, extra):
    code, said = call(raising(ModuleNotFoundError(f"No module named {module!r}", name=module)))
    assert code == 2
    assert said == f'sitsfuse: {module}: is not installed; install it with: pip install "sitsfuse[{extra}]"\n'


def test_any_other_missing_module_is_a_fault_of_ours(call):
    code, said = call(raising(ModuleNotFoundError("No module named 'nonsense'", name="nonsense")))
    assert code == 1
    assert "nonsense" in said
    assert "sitsfuse[" not in said


def test_a_group_without_a_command_says_so():
    done = subprocess.run([sys.executable, "-m", "sitsfuse", "train"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "sitsfuse: Missing command; see `sitsfuse train --help`\n"


def test_the_shell_completes_commands():
    asked = {"_SITSFUSE_COMPLETE": "complete_bash", "COMP_WORDS": "sitsfuse ev", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'sitsfuse'; from sitsfuse.cli import main; main()"],
        capture_output=True,
        text=True,
        env=os.environ | asked,
    )
    assert done.stdout.split() == ["evaluate"], done


def test_what_the_default_method_chose_is_told_in_a_line_per_date(tmp_path):
    site = simulate(size=60, guides=4, targets=2, cloud_cover=0.1)
    write_site(site, tmp_path / "site.zarr")
    command = [sys.executable, "-m", "sitsfuse", "fuse", "site.zarr", "-o", "fused", "--set", "networks=never", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *dates, out = done.stdout.splitlines()
    assert out == "fused"
    assert len(dates) == 2
    for line in dates:
        assert re.search(r"closed form.*, penalty .+|too few clear target pixels", line), line
