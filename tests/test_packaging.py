"""What is said of the package in several places is the same everywhere."""

import json
import re
import tomllib
from pathlib import Path

from sitsfuse import __version__

ROOT = Path(__file__).parents[1]


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_one_version():
    assert re.search(r"^version: (\S+)$", text("CITATION.cff"), re.MULTILINE)[1] == __version__
    assert json.loads(text("codemeta.json"))["version"] == __version__
    assert re.search(r'^  version: "(\S+)"$', text("packaging/conda/recipe.yaml"), re.MULTILINE)[1] == __version__


def test_the_conda_recipe_has_the_dependencies_of_the_wheel():
    project = tomllib.loads(text("pyproject.toml"))["project"]
    wanted = {re.sub(r"\[.*?\]", "", d).replace(">=", " >=") for d in project["dependencies"]}
    run = text("packaging/conda/recipe.yaml").split("\n  run:\n")[1].split("\n\n")[0]
    found = set(re.findall(r"- (.+)", run)) - {f"python {project['requires-python']}"}
    assert found == wanted


def test_every_extra_but_those_of_developers_is_named_in_readme_and_in_the_container():
    extras = set(tomllib.loads(text("pyproject.toml"))["project"]["optional-dependencies"]) - {"test", "lint", "docs"}
    assert {e for e in extras if f"`{e}`" not in text("README.md")} == set()
    assert set(re.search(r'"\.\[([\w,]+)\]"', text("Dockerfile"))[1].split(",")) == extras


def test_hosted_checks_run_the_versions_that_the_package_names():
    classifiers = tomllib.loads(text("pyproject.toml"))["project"]["classifiers"]
    named = {c.rsplit(" ", 1)[1] for c in classifiers if re.search(r"Python :: 3\.\d+$", c)}
    matrix = re.search(r"python: \[(.*)\]", text(".github/workflows/ci.yml"))[1]
    assert set(json.loads(f"[{matrix}]")) == named
