"""Verdicts in words, and on the page."""

import math
from dataclasses import replace

from sitsfuse.core.displacement import STAY
from sitsfuse.preparation.page import prepare_page
from sitsfuse.preparation.placed import ImageRecord, Placed
from sitsfuse.preparation.verdicts import Said, registration_verdict
from sitsfuse.stats.heldout import Verdict

NOT = Verdict("not applied", -0.08, 0.03, 0.01, 0.011, 5, "on left-out dates the difference would grow by 8 %")
DOUBTFUL = Verdict("doubtful", 0.123, 0.1, 0.02, 0.0175, 5, "look here")


def test_a_verdict_says_what_was_decided_why_and_what_it_gains():
    said = Said("Harmonisation", DOUBTFUL, "on dates left out the difference", "red × 1.05")
    assert said.text == (
        "Harmonisation: doubtful; look here; on dates left out the difference falls by 12 ± 10 %, "
        "from 0.0200 to 0.0175; red × 1.05"
    )
    # What is not applied tells nothing of what it would be.
    text = Said("Harmonisation", NOT, "on dates left out the difference", "red × 1.05").text
    assert text == "Harmonisation: not applied; on left-out dates the difference would grow by 8 %"
    unknown = Said("x", Verdict("applied"), "it").record()
    assert (unknown["gained"], unknown["text"]) == (None, "x: applied")
    assert math.isnan(Verdict("applied").gained)


def test_images_that_take_what_the_others_have_are_counted():
    moved = Placed(STAY.plus(3.0, 4.0), "good", shift_px=(0.3, 0.4), applied=True)
    images = [
        ImageRecord("target", placed=moved),
        ImageRecord("target", placed=replace(moved, quality="common")),
        ImageRecord("target", placed=Placed(quality="failed")),
        ImageRecord("guide", placed=moved),
    ]
    told = images[0].to_json()
    assert (told["shift_x"], told["shift_y"], told["shift_px"], told["quality"]) == (3.0, 4.0, [0.3, 0.4], "good")
    text = registration_verdict("lr", Verdict("applied", 0.5, 0.1, 0.4, 0.2, 2), images).text
    assert "2 of 3 images moved, by 0.50 px or 5.0 m (median), at most 0.50 px; 1 of them as the others are" in text
    assert "falls by 50 ± 10 %, from 0.40 to 0.20 px" in text


def test_the_page_opens_with_the_verdicts(tmp_path):
    record = {"verdicts": [Said("Harmonisation", v, "it").record() for v in (NOT, DOUBTFUL)]}
    prepare_page(record, {}, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert NOT.reason in page
    assert page.count('<li class="look">') == 1, "what is doubtful stands out"
