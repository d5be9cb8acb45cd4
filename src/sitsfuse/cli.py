"""The command line: parses, calls one function, prints. Heavy imports wait until a command runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer

from .cli_benchmark import benchmark, report
from .cli_train import app as train
from .errors import InputError
from .parsing import fields, names, numbers, pairs, reading

if TYPE_CHECKING:
    import xarray as xr

INTERRUPTED = 130
"""What the parser returns on Ctrl-C."""
_UsageError = cast(
    "type[typer.BadParameter]", typer.BadParameter.__bases__[0]
)  # the parser's: from click, or from its copy inside newer typer

app = typer.Typer(
    name="sitsfuse",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

app.add_typer(train, name="train")
app.command()(benchmark)
app.command()(report)

_FOREIGN, _OUTPUT, _SPEED = "Files of other makers", "Output", "Speed and memory"
_CHOICE, _CORRECTIONS = "Which images", "Corrections"

Site = Annotated[
    list[Path],
    typer.Argument(
        metavar="SITE | GUIDE TARGET | TARGET",
        help="A site (a folder or Zarr store with guide/ and target/), the paths of the two series, or, for the "
        "methods carn and spatial, that of the LR series alone.",
    ),
]
TargetName = Annotated[str, typer.Option("--target", help="Name of the target series in a site, e.g. target_x5.")]
DatePattern = Annotated[
    str | None,
    typer.Option(
        help="Where the date stands in file names: a strptime format such as A%Y%j, or a regular expression with the "
        "groups year, month and day. Default: YYYYMMDD or YYYY-MM-DD.",
        rich_help_panel=_FOREIGN,
    ),
]
Bands = Annotated[
    str | None,
    typer.Option(
        help="Names for bands, given by index or description: blue=1,green=2 or red=B4,nir=B8. Others are left out.",
        rich_help_panel=_FOREIGN,
    ),
]
TargetDatePattern = Annotated[
    str | None,
    typer.Option(help="The same for the target, if its files are named otherwise.", rich_help_panel=_FOREIGN),
]
TargetBands = Annotated[
    str | None,
    typer.Option(help="The same for the target, if its bands are named otherwise.", rich_help_panel=_FOREIGN),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


@app.callback()
def _global(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=lambda v: _version(v))
    ] = False,
) -> None:
    """Fuse sparse sharp and dense coarse satellite image time series: sharp images at every date.

    Try `sitsfuse demo` first. Then, on your own images: `sitsfuse info GUIDE`, `sitsfuse fuse GUIDE TARGET -o OUT`.
    """


@app.command()
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write to.")] = Path("demo-output"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make everything anew.")] = False,
    quiet: Quiet = False,
) -> None:
    """Simulate a site, fuse it with every method, evaluate, and draw a figure.

    Takes a minute or two. Run again, it makes only what is missing.
    """
    from .demonstration import demo as run
    from .progress import stages

    with stages(quiet) as report:
        made = run(out, overwrite=overwrite, report=report)
    print(made)


@app.command()
def simulate(
    out: Annotated[Path, typer.Option("-o", "--out", help="The site to write.")],
    like: Annotated[str | None, typer.Option(help="A site to imitate, with two targets: SUDOE-4, ARM …")] = None,
    size: Annotated[int | None, typer.Option(help="Side, in HR pixels. Default: 600, with --like 400.")] = None,
    ratio: Annotated[float | None, typer.Option(help="LR pixel size over HR pixel size. Default: 5.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all that is random. Default: 0.")] = None,
    guides: Annotated[int | None, typer.Option(help="Number of guides. Default: 13.")] = None,
    targets: Annotated[int | None, typer.Option(help="Number of LR images. Default: 12.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any further option of the simulator: landscape=mountains, cloud_cover=0.5 …"),
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", help="zarr (one store) or geotiff (a folder per series).")
    ] = "zarr",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a site that is there.")] = False,
) -> None:
    """Simulate a site with a known truth: fields, forests, roads, water, clouds and two sensors.

    Writes the series guide, target and reference (the truth at the target's dates); with --like a target per ratio.
    """
    from .simulator import SimulationConfig, simulate_site
    from .simulator import simulate as run
    from .writers import write_geotiffs, write_site

    if format_ not in ("zarr", "geotiff"):
        raise InputError("--format", f"{format_!r} is unknown", "choose zarr or geotiff")
    options: dict[str, Any] = {"size": size, "ratio": ratio, "seed": seed, "guides": guides, "targets": targets}
    options = {n: v for n, v in options.items() if v is not None} | fields(set_ or [], SimulationConfig)
    site = run(**options) if like is None else simulate_site(like, **options)
    if format_ == "zarr":
        write_site(site, out, overwrite=overwrite)
    else:
        for name, node in site.children.items():
            write_geotiffs(node.to_dataset(), out / name, overwrite=overwrite)
    print(out)


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="A series or a site: a folder of GeoTIFFs or a Zarr store.")],
    date_pattern: DatePattern = None,
    bands: Bands = None,
) -> None:
    """Show what a series or a site holds, and what is wrong with it."""
    from .info import describe

    print(describe(path, **reading(date_pattern, bands)).format())


@app.command()
def prepare(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="CONFIG.toml | GUIDE TARGET",
            help="A configuration, or the HR and the LR images: folders of products or GeoTIFFs, or Zarr stores.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The site to write, a Zarr store; run again to resume.")],
    reference: Annotated[
        Path | None, typer.Option(help="HR images to compare with, if they lie apart; they are never guides.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be chosen and draw it to OUT_plan.png; write no site.")
    ] = False,
    mode: Annotated[
        str | None,
        typer.Option(
            help="production: all images are guides and targets; benchmark: guides by revisit, the other HR images "
            "become references.",
            rich_help_panel=_CHOICE,
        ),
    ] = None,
    revisit: Annotated[
        float | None, typer.Option(help="Days between guides (benchmark). Default: 20.", rich_help_panel=_CHOICE)
    ] = None,
    max_days: Annotated[
        float | None,
        typer.Option(
            help="Days from a reference to its target, less than (benchmark). Default: 1.", rich_help_panel=_CHOICE
        ),
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(help="Bands of the site: blue,green,red,nir. Default: all in common.", rich_help_panel=_CHOICE),
    ] = None,
    register: Annotated[
        str | None,
        typer.Option(help="shift, affine, local or none. Default: shift.", rich_help_panel=_CORRECTIONS),
    ] = None,
    harmonize: Annotated[
        str | None,
        typer.Option(help="pooled, per-date, mixing or none. Default: pooled.", rich_help_panel=_CORRECTIONS),
    ] = None,
    degrade: Annotated[
        float | None,
        typer.Option(help="Pixel size to degrade the LR images to, in metres.", rich_help_panel=_CORRECTIONS),
    ] = None,
    on_error: Annotated[
        str | None, typer.Option(help="skip images that cannot be used, or stop. Default: skip.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start anew where a site is there.")] = False,
    workers: Annotated[
        int | None, typer.Option(help="Blocks at a time. Default: one per core, at most 4.", min=1)
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Make a site from product archives or series: choose, register, harmonise, degrade.

    Writes a Zarr store with guide, target and reference, and prepare.html in it, which shows what was done. Options
    override what the configuration says. A killed run resumes where it was when it is run again.

    Examples: `sitsfuse prepare site.toml -o site.zarr` · `sitsfuse prepare venus/ sentinel2/ -o site.zarr --dry-run`
    """
    from .preparation import changed, make_config, plan_site, read_config
    from .preparation import prepare as run
    from .progress import stages

    if len(paths) == 1 and paths[0].suffix == ".toml":
        config = read_config(paths[0])
    elif len(paths) == 2:
        config = make_config({"guide": {"path": paths[0]}, "target": {"path": paths[1]}}, "prepare")
    else:
        raise InputError(
            "prepare",
            f"got {len(paths)} path{'s' * (len(paths) != 1)}",
            "give CONFIG.toml, or a guide and a target (and -o OUT)",
        )
    config = changed(
        config,
        {
            "reference": None if reference is None else {"path": reference},
            "guide.bands": None if bands is None else [b.strip() for b in bands.split(",")],
            "target.degrade": degrade,
            "selection.mode": mode,
            "selection.revisit": revisit,
            "selection.max_days": max_days,
            "registration.model": register,
            "harmonization.mode": harmonize,
            "on_error": on_error,
        },
    )
    with stages(quiet) as report:
        if dry_run:
            from .pages import draw_timeline
            from .preparation.record import planned

            found = plan_site(config, report)
            picture = out.with_name(f"{out.stem}_plan.png")
            draw_timeline(planned(config, found), picture)
        else:
            done = run(config, out, overwrite=overwrite, workers=workers, report=report)
    if dry_run:
        for problem in found.problems:
            print(f"sitsfuse: left out: {problem}", file=sys.stderr)
        print(found.plan.format())
        print(picture)
        return
    for problem in done["problems"]:
        print(f"sitsfuse: left out: {problem['path']}: {problem['problem']}", file=sys.stderr)
    print(done["summary"])
    print(out / "prepare.html")
    print(out)


@app.command()
def search(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG.toml", help="A configuration with guide.search or target.search.")
    ],
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the products into the folders that the configuration names.")
    ] = False,
    catalogue: Annotated[
        str | None, typer.Option(help="Address of a STAC server to ask instead of the provider.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Find the products of a site at their provider, and fetch them.

    What is there already is not fetched again. Accounts are set up as eodag wants it: see docs/prepare.md.
    """
    from .catalogue import Query, table
    from .catalogue import download as fetch
    from .catalogue import search as find
    from .preparation.config import read_config
    from .progress import stages

    read = read_config(config)
    roles = {r: s for r in ("guide", "target", "reference") if (s := getattr(read, r)) is not None and s.search}
    if not roles:
        raise InputError(config, "has neither guide.search nor target.search", "say where to search: docs/prepare.md")
    for role, series in roles.items():
        query = Query.from_mapping(f"{config}: {role}.search", series.search)
        found = find(query, catalogue=catalogue)
        print(f"{role}: {len(found)} product{'s' * (len(found) != 1)} of {query.collection}")
        print(table(found))
        if download:
            with stages(quiet) as report:
                paths = fetch(found, series.path, report=report)
            print(f"{len(paths)} in {series.path}")


@app.command()
def fuse(
    paths: Site,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder of GeoTIFFs or Zarr store to write; run again to resume.")
    ],
    method: Annotated[str, typer.Option(help="One of `sitsfuse methods`.")] = "ddi",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of the method, see `sitsfuse methods`: --set steps=500 --set seed=3."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Folder of a network, as `sitsfuse train` writes it, for the methods carn and carn+ddi."),
    ] = None,
    factor: Annotated[
        float | None,
        typer.Option(
            help="Where TARGET stands alone: its pixel size over that of the prediction. Default: that of --model."
        ),
    ] = None,
    dates: Annotated[
        str | None, typer.Option(help="Dates to predict: 2019-05-01,2019-05-06. Default: those of the target.")
    ] = None,
    every: Annotated[
        str | None, typer.Option(help="Instead, a regular series over the target's time: 2d. Gaps are interpolated.")
    ] = None,
    target: TargetName = "target",
    mtf: Annotated[
        str | None,
        typer.Option(
            help="MTF of the LR sensor at its Nyquist frequency: 0.3, or one per band of the guide. Default: what the "
            "target says, else 0.3."
        ),
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", help="cog: a GeoTIFF per date; zarr: one Zarr series.", rich_help_panel=_OUTPUT)
    ] = "cog",
    int16: Annotated[
        bool, typer.Option("--int16", help="GeoTIFFs as integers × 1e-4.", rich_help_panel=_OUTPUT)
    ] = False,
    weights: Annotated[
        bool, typer.Option("--weights", help="Also keep the weight of each guide (ddi).", rich_help_panel=_OUTPUT)
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew where an output is there.", rich_help_panel=_OUTPUT)
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda, for methods that train.", rich_help_panel=_SPEED)
    ] = None,
    tile: Annotated[
        int, typer.Option(help="Side of a tile, in HR pixels: it bounds the memory.", min=16, rich_help_panel=_SPEED)
    ] = 1024,
    workers: Annotated[
        int | None, typer.Option(help="Tiles at a time. Default: all cores.", min=1, rich_help_panel=_SPEED)
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Run on a dask cluster: its scheduler's address, tcp://host:8786.", rich_help_panel=_SPEED),
    ] = None,
    date_pattern: DatePattern = None,
    bands: Bands = None,
    target_date_pattern: TargetDatePattern = None,
    target_bands: TargetBands = None,
    quiet: Quiet = False,
) -> None:
    """Predict HR images at every LR date.

    Writes YYYYMMDD.tif, YYYYMMDD_uncertainty.tif and YYYYMMDD_mask.tif (0 = valid) per date. A killed run resumes
    where it was when it is run again.

    Examples: `sitsfuse fuse SITE -o fused` · `sitsfuse fuse venus/ sentinel2/ -o fused --every 2d --weights` ·
    `sitsfuse fuse sentinel2/ -o fused --method carn --model model`
    """
    from .engine import fuse as run
    from .engine import plan_dates
    from .outputs import read_records
    from .progress import tiles
    from .series import group

    options = pairs(set_ or [], "--set")
    if device is not None:
        options["device"] = device
    if model is not None:
        from .modelcard import read_card

        options["model"] = str(model)
        factor = factor or read_card(model).factor
    chosen = names(dates)
    own = reading(target_date_pattern, target_bands, "--target-bands")
    site = _open(paths, target, reading(date_pattern, bands), own, mtf, factor)
    times, _ = plan_dates(group(site, "target")["time"].values, chosen, every)
    with tiles(quiet) as report:
        run(
            site,
            out,
            method=method,
            options=options,
            dates=chosen,
            every=every,
            format=format_,
            tile=tile,
            weights=weights,
            int16=int16,
            workers=workers,
            scheduler=scheduler,
            overwrite=overwrite,
            report=report,
        )
    # An output may hold the dates of other runs, too.
    records = read_records(out)
    for day in (str(t)[:10] for t in times):
        print(f"{day}  {_line(day, records[day])}")
    print(out)


@app.command()
def evaluate(
    prediction: Annotated[Path, typer.Argument(help="Predicted series, such as the output of `sitsfuse fuse`.")],
    reference: Annotated[Path, typer.Argument(help="HR series to compare with, on the same grid.")],
    target: Annotated[
        Path | None, typer.Option(help="LR series: count only where it is clear, and check the consistency with it.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Table to write: metrics.csv or .parquet.")] = None,
    max_days: Annotated[
        float, typer.Option(help="Longest gap between a reference and its prediction, in days.", min=0)
    ] = 1.0,
    date_pattern: DatePattern = None,
    bands: Bands = None,
    target_date_pattern: TargetDatePattern = None,
    target_bands: TargetBands = None,
) -> None:
    """Compare predictions with references, per band, for NDVI and for all bands.

    RMSE, MAE, bias, CE90, CE99, PSNR, UIQI, structure (of SSIM), gradient correlation, SAM; with --target also ERGAS,
    consistency with the LR image, and what of the frequencies is restored (FRR), made up (FRO) and lost (FRU); if the
    prediction has uncertainties, the shares of errors that their intervals cover, and how wide they are.

    Prints the means over the dates; -o keeps the tidy table of every date, also of pixels with low and high gradients.
    """
    from .evaluation import check_table_path, summary, write_table
    from .evaluation import evaluate as run
    from .outputs import STATE
    from .readers import open_series
    from .threads import default_workers

    if out is not None:
        check_table_path(out)
    how = reading(date_pattern, bands)
    own = how | reading(target_date_pattern, target_bands, "--target-bands")
    # Our own outputs are named our way, whatever the files that they were made from.
    mine = {} if (prediction / STATE).is_dir() else how
    roles = {"prediction": (prediction, mine), "reference": (reference, how)}
    roles |= {} if target is None else {"target": (target, own)}
    series: dict[str, Any] = {role: open_series(path, **options) for role, (path, options) in roles.items()}
    try:
        table = run(**series, max_days=max_days, workers=default_workers())
    except InputError as error:
        if str(error.where) not in roles:
            raise
        # Python speaks of roles; the user knows paths.
        raise InputError(roles[str(error.where)][0], error.problem, error.mend) from error
    print(summary(table).T.to_string(float_format=lambda v: f"{v:.5f}", na_rep=""))
    dates, left_out = table["date"].nunique(), table.attrs.get("left_out", 0)
    note = f"; {left_out} reference{'s' * (left_out != 1)} without a prediction" if left_out else ""
    print(f"mean over {dates} date{'s' * (dates != 1)}{note}")
    if out is not None:
        write_table(table, out)
        print(out)


@app.command()
def methods() -> None:
    """List the methods, their options and papers."""
    from .methods import known_methods, parameters

    for name, cls in known_methods().items():
        summary = (cls.__doc__ or "").strip().splitlines()[0]
        print(f"{name}: {summary}\n    paper: {cls.paper}")
        for field, default, text in parameters(cls):
            shown = ",".join(str(v) for v in default) if isinstance(default, tuple) else default
            shown = '""' if shown == "" else shown
            print(f"    {field}={shown}  {text}")


def main() -> NoReturn:
    """Run the command line; exit 0 done, 2 bad usage or input, 1 anything else."""
    debug = "--debug" in sys.argv[1:]
    # The flag may stand anywhere: commands need not know it.
    arguments = [a for a in sys.argv[1:] if a != "--debug"] or ["--help"]
    try:
        code = app(args=arguments, prog_name="sitsfuse", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone; nothing more to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except InputError as error:
        _fail(str(error), 2, debug)
    except _UsageError as error:
        command = error.ctx.command_path if error.ctx else "sitsfuse"
        _fail(f"{error.format_message().rstrip('.')}; see `{command} --help`", 2, debug)
    except Exception as error:
        _fail(f"{type(error).__name__}: {error} (show more with --debug)", 1, debug)
    if code == INTERRUPTED:
        again = "`prepare`, `train`, `fuse`, `benchmark` and `demo` go on where they were when they are run again"
        _fail(f"interrupted; {again}", 1, debug=False)
    sys.exit(code or 0)


def _fail(text: str, code: int, debug: bool) -> NoReturn:
    """One line on stderr, after the traceback if it is asked for, and exit."""
    if debug:
        import traceback

        traceback.print_exc()
    print(f"sitsfuse: {' '.join(text.split())}", file=sys.stderr)
    sys.exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("sitsfuse"))
        raise typer.Exit


def _open(
    paths: Sequence[Path],
    target: str,
    how: dict[str, Any],
    own: dict[str, Any],
    mtf: str | None,
    factor: float | None,
) -> xr.DataTree:
    """The site of one path, or of two."""
    from .readers import open_pair, open_site, open_target, series_names
    from .series import check

    alone = len(paths) == 1 and paths[0].is_dir() and not series_names(paths[0])
    if alone:
        if factor is None:
            mend = "give GUIDE TARGET; --factor or --model if there is no guide"
            raise InputError(paths[0], "has no guide/ and target/", mend)
        site = open_target(paths[0], factor, **how | own)
    elif len(paths) == 1:
        site = open_site(paths[0], target, own, **how)
    elif len(paths) == 2:
        if target != "target":
            raise InputError("--target", f"{target!r} names a series of a site, but two paths are given", "drop it")
        site = open_pair(paths[0], paths[1], None, own, **how)
    else:
        raise InputError("fuse", f"got {len(paths)} paths", "give a site, or a guide and a target (and -o OUT)")
    if mtf is not None:
        values = numbers(mtf, "--mtf")
        site["target"].attrs["mtf"] = values[0] if len(values) == 1 else values
        check(site["target"].to_dataset(), "--mtf")
    return site


def _line(day: str, record: dict[str, Any]) -> str:
    """What happened to a date, in a line."""
    notes = []
    if record.get("interpolated"):
        notes.append("LR interpolated in time")
    guides = record.get("guides") or [day]
    if day < min(guides):
        notes.append("before the first guide")
    if day > max(guides):
        notes.append("after the last guide")
    valid, filled = record.get("valid_share", 1.0), record.get("filled_share", 0.0)
    if valid < 1:
        notes.append(f"{100 * (1 - valid):.1f} % nodata")
    if record.get("targets") and filled > 0:
        # A method that reads no LR image fills everything: that is no news.
        no_clear = "no clear LR pixel, all from the guides"
        notes.append(no_clear if filled == valid else f"{100 * filled:.1f} % filled without a clear LR pixel")
    choices = record.get("choices", {})
    if choices.get("head"):
        decay, strength = (" ".join(f"{v:{f}}" for v in choices[k]) for k, f in (("decay", "g"), ("strength", ".2f")))
        notes.append(f"head {choices['head']}, decay {decay}, alpha {choices['alpha']:.2f}, strength {strength}")
    elif choices.get("note"):
        notes.append(choices["note"])
    return "; ".join(notes) or "done"
