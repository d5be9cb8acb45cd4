"""The report of a benchmark: one page that needs nothing else, and its figures as files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..benchmarking.claims import claims
from ..benchmarking.configuration import Configuration
from ..benchmarking.protocols import STANDARD
from ..benchmarking.ranking import Ranking, ranking
from ..benchmarking.results import Results
from ..benchmarking.scores import Scores
from ..drawing.html import write_page
from ..runtime.progress import Progress, silent
from .album import Album
from .gallery import draw
from .palette import PALETTE, styles, swatch
from .panels import STRATA
from .study import study_report
from .tables import coverage, coverage_rows, failure_rows, losses, means, ranking_table, settings, site_rows
from .viewer import viewer
from .words import facts, findings, opening

TEMPLATE = "benchmark.html.j2"
LARGEST = 15_000_000
"""Most characters of the page."""
SPARE = 300_000
"""What the page's own text and scripts may take of them."""
LEAST_VIEWER = 1_000_000
"""With less room than that, images to be looked at are not worth it."""


def report(results: str | Path, out: str | Path | None = None, *, report: Progress = silent) -> Path:
    """Write the report of a benchmark or a study: an HTML page that needs nothing else, and its figures beside it.

    Parameters
    ----------
    results
        Folder that a benchmark or a study left.
    out
        The page to write; by default ``report.html`` in that folder. Its figures go to a folder beside it, named
        ``report_figures`` for ``report.html``, as PNG and SVG.
    report
        Called as the work proceeds.

    Returns
    -------
    pathlib.Path
        The page.

    Raises
    ------
    InputError
        If the folder holds no benchmark or no result yet, matplotlib, Pillow or jinja2 is missing, or a file cannot be
        written.
    """
    found = Results(Path(results))
    page = found.path / "report.html" if out is None else Path(out)
    config, table = found.config, found.table()
    if config.study:
        return study_report(found, page, report)
    report("rank", 0, 1)
    scores = Scores.of(table, list(config.methods), config.protocols, list(config.sites))
    ranked = [ranking(scores, ratio) for ratio in scores.ratios]
    overall = ranking(scores) if len(ranked) > 1 else None
    report("rank", 1, 1)
    album = Album(page.with_name(f"{page.stem}_figures"), styles(scores.methods))
    context = {
        **_words(found, config, scores, ranked, overall),
        **draw(found, config, scores, ranked, album, report),
    }
    room = LARGEST - SPARE - weight(context)
    report("pictures", 0, 1)
    context["viewer"] = viewer(found, table, room) if room > LEAST_VIEWER else None
    report("pictures", 1, 1)
    write_page(page, __name__, TEMPLATE, context)
    return page


def weight(value: Any) -> int:
    """About how many characters something takes in the page."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(weight(v) for v in value.values())
    if isinstance(value, list | tuple):
        return sum(weight(v) for v in value) + 30 * len(value)
    return weight(vars(value)) if hasattr(value, "__dict__") else 10


def _words(
    results: Results, config: Configuration, scores: Scores, ranked: Sequence[Ranking], overall: Ranking | None
) -> dict[str, Any]:
    failures = results.failures()
    asked = sum(1 for _ in results.units())
    metrics, rows, note = means(scores)
    drawing = styles(scores.methods)
    protocols = [p for p in scores.protocols if p != STANDARD]
    lost = [row for r in scores.ratios for p in protocols for row in losses(scores, r, p)]
    covered = [row for r in scores.ratios for row in coverage(scores, r)[2]]
    stated, scene_rows = coverage_rows(scores)
    tested = claims(scores, config)
    verdicts = Counter(claim.verdict for claim in tested)
    return {
        "theme": PALETTE,
        "version": config.version,
        "made": config.made,
        "opening": opening(scores, config),
        "findings": findings(ranked, scores),
        "facts": facts(scores, ranked, len(failures), asked),
        "methods": list(scores.methods),
        "swatches": {m: swatch(s) for m, s in drawing.items()},
        "strong": [m for m, s in drawing.items() if s.strong],
        "sites": site_rows(scores, config),
        "rankings": [ranking_table(r) for r in (*ranked, *([overall] if overall else [])) if r.places],
        "claims": tested,
        "claims_told": ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items()),
        "failures": failure_rows(failures, config),
        "failed": len(failures),
        "coverages": covered,
        "coverage_methods": stated,
        "coverage_scenes": scene_rows,
        "lost": lost,
        "metrics": metrics,
        "means": rows,
        "means_note": note,
        "settings": list(settings(config)),
        "strata": [(ink, name) for ink, name in STRATA.values()],
    }
