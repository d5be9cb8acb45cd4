"""Options: names, types, bounds and descriptions of a dataclass, from text, JSON and Python."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pytest
from pydantic import Field

import sitsfuse
from sitsfuse import InputError
from sitsfuse.core.options import MTF, Count, NotNegative, altered, build, need, parameters, settle
from sitsfuse.methods import METHODS, make_method
from sitsfuse.simulator import SimulationConfig
from sitsfuse.superresolution.training import TrainingConfig


@dataclass(frozen=True)
class Plain:
    """A dataclass that knows nothing of this package, as a third party's method may be."""

    name: ClassVar[str] = "plain"

    hidden: tuple[int, ...] = (8, 8)
    """Neurons
    per layer."""
    flag: bool = False
    """Whether."""
    rate: float = 0.1
    label: str = ""
    shares: tuple[float, float] | None = None

    def __post_init__(self):
        if self.rate <= 0:
            raise ValueError("rate must be > 0")


@dataclass(frozen=True)
class Bounded:
    """One with bounds."""

    steps: Count = 3
    noise: NotNegative = 0.0
    mtf: tuple[MTF, MTF] = (0.2, 0.5)
    side: Annotated[int, Field(ge=8, le=64)] = 8

    def __post_init__(self):
        settle(self)
        need(self.mtf[0] <= self.mtf[1], self, "mtf", "give the lower bound first")


TEXTS = [
    ("hidden", "16,16", (16, 16)),
    ("hidden", "16|4", (16, 4)),
    ("hidden", "16", (16,)),
    ("hidden", [4, 5], (4, 5)),
    ("flag", "true", True),
    ("flag", "false", False),
    ("flag", "no", False),
    ("flag", "1", True),
    ("rate", "1e-3", 1e-3),
    ("rate", np.float32(0.5), 0.5),
    ("label", "1,2", "1,2"),
    ("label", Path("some/model"), "some/model"),
    ("shares", "0.1, 0.2", (0.1, 0.2)),
    ("shares", None, None),
]


@pytest.mark.parametrize(("name", "given", "wanted"), TEXTS)
def test_values_come_to_their_types(name, given, wanted):
    found = getattr(build(Plain, {name: given}, "it"), name)
    assert found == wanted
    assert type(found) is type(wanted)


WRONG = {
    "text for a number": (Bounded, {"steps": "many"}, "steps: 'many' is not usable; give a whole number"),
    "half a number": (Bounded, {"steps": "2.5"}, "steps: '2.5' is not usable; give a whole number"),
    "too small": (Bounded, {"steps": 0}, "steps: 0 is not usable; give at least 1"),
    "too large": (Bounded, {"side": "65"}, "side: '65' is not usable; give at most 64"),
    "nan": (Bounded, {"noise": np.nan}, "noise: nan is not usable; give a finite number"),
    "a bound excluded": (Bounded, {"mtf": "0,0.5"}, "mtf: '0,0.5' is not usable; give more than 0"),
    "one of two": (Bounded, {"mtf": "0.5"}, "mtf: '0.5' is not usable; give 2 values"),
    "three of two": (Bounded, {"mtf": [0.1, 0.2, 0.3]}, r"mtf: \[0.1, 0.2, 0.3\] is not usable; give 2 values"),
    "order": (Bounded, {"mtf": "0.5,0.2"}, r"mtf: \(0.5, 0.2\) is not usable; give the lower bound first"),
    "a flag": (Plain, {"flag": "maybe"}, "flag: 'maybe' is not usable; give true or false"),
    "of a tuple": (Plain, {"hidden": "16,x"}, "hidden: '16,x' is not usable; give a whole number"),
    "unknown": (Plain, {"layers": 3}, "layers: is not an option of it; choose among hidden, flag, rate, label, shares"),
    "a check of its own": (Plain, {"rate": "0"}, "it: rate must be > 0; see"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_unusable_option_is_one_line(case):
    cls, given, text = WRONG[case]
    with pytest.raises(InputError, match=f"^{text}") as caught:
        build(cls, given, "it")
    assert len(str(caught.value).splitlines()) == 1
    if "own" not in case:  # the parameter that the option was given in
        with pytest.raises(InputError, match=rf"^options\.{text}"):
            build(cls, given, "it", "options")


def test_the_class_itself_checks_and_converts():
    assert Bounded(mtf=[0.1, 0.2]).mtf == (0.1, 0.2)
    assert hash(Bounded(mtf=[0.1, 0.2])) == hash(Bounded(mtf=(0.1, 0.2)))
    with pytest.raises(InputError, match="steps: -1 is not usable; give at least 1"):
        Bounded(steps=-1)


def test_options_are_described_by_what_stands_under_them():
    found = {p.name: (p.default, p.text) for p in parameters(Plain)}
    assert found["hidden"] == ((8, 8), "Neurons per layer.")
    assert found["rate"] == (0.1, "")
    assert "name" not in found


@pytest.mark.parametrize("name", METHODS)
def test_every_option_of_a_method_takes_its_default_as_text_and_as_json(name):
    method = make_method(name)
    for option in parameters(type(method)):
        value = option.default
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        assert make_method(name, {option.name: text}) == method
        assert make_method(name, {option.name: list(value) if isinstance(value, tuple) else value}) == method


@pytest.mark.parametrize("cls", [TrainingConfig, SimulationConfig])
def test_configurations_are_described_and_take_text(cls):
    config = cls()
    assert all(len(p.text) > 10 for p in parameters(cls))
    for name, value in dataclasses.asdict(config).items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        assert altered(config, {name: text}, "it") == config
    with pytest.raises(InputError, match=r"^speed: is not an option of it; choose among \w+, "):
        altered(config, {"speed": 3}, "it")


def test_unknown_options_from_python():
    with pytest.raises(InputError, match=r"^sze: is not an option of a simulation; choose among size, ratio"):
        sitsfuse.simulate(sze=40)
    site = sitsfuse.simulate(size=40, guides=3, targets=2)
    with pytest.raises(InputError, match=r"^options\.windw: is not an option of method 'starfm'; choose among pairs"):
        sitsfuse.fuse(site, method="starfm", options={"windw": 3})
