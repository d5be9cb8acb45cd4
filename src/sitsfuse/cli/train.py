"""`sitsfuse train`: networks, from images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError
from .naming import Command
from .options import Quiet
from .parsing import pairs
from .reading import How, reads, value_of
from .settings import configured

app = typer.Typer(help="Train a network on your own images.", rich_markup_mode="markdown")

_DATA, _NETWORK = "Training data", "Network and training"


@app.callback()
def _train() -> None:
    """Keep `carn` a command of its own."""


@app.command(cls=Command)
@configured
@reads(twins=False, but=("bands",))
def carn(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SITE… | GUIDES… | SEN2VENUS",
            help="Sites, of which only the guides are used; folders of HR images; or one SEN2VENµS archive.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The model's folder to write; run again to resume.")],
    factor: Annotated[
        float | None,
        typer.Option(
            help="LR pixel size over HR pixel size. Default: that of the sites, or of the archive's pairs.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    target: Annotated[
        str,
        typer.Option(help="Name of the target series in the sites, which tells the factor.", rich_help_panel=_DATA),
    ] = "target",
    bands: Annotated[
        str,
        typer.Option(
            help="Bands of an archive: b2b3b4b8 or b4b5b6b8a. Of folders, names for bands: blue=1,green=2 or red=B4.",
            rich_help_panel=_DATA,
        ),
    ] = "b2b3b4b8",
    mtf: Annotated[
        str,
        typer.Option(
            help="MTF of the LR sensor at its Nyquist frequency: bounds between which it is drawn for each patch.",
            rich_help_panel=_DATA,
        ),
    ] = "0.2,0.5",
    steps: Annotated[int, typer.Option(help="Mini-batches in all.", rich_help_panel=_NETWORK)] = 3000,
    features: Annotated[int, typer.Option(help="Channels of the network.", rich_help_panel=_NETWORK)] = 64,
    seed: Annotated[int, typer.Option(help="Seed of all that is random.", rich_help_panel=_NETWORK)] = 0,
    device: Annotated[
        str, typer.Option(help="auto, cpu or cuda: auto takes a GPU if torch sees one.", rich_help_panel=_NETWORK)
    ] = "auto",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Any further option: batch, patch, rate, groups, tail, context, noise, shift, consistency, pixels.",
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model. Default: that of the folder.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the model, for its card.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start anew where a model is there.")] = False,
    quiet: Quiet = False,
    how: How = How(),  # noqa: B008 (frozen)
) -> None:
    """Train CARN, for `sitsfuse fuse --method carn --model MODEL`.

    HR images are degraded to make pairs; an archive brings its own. Writes a folder: card.toml, weights.safetensors,
    model.onnx, training.csv and training.png. A killed run goes on where it was when it is run again.

    Examples: `sitsfuse train carn SITE -o model` · `sitsfuse train carn venus/ --factor 2.5 -o model`
    """
    from ..superresolution.card import read_card
    from ..superresolution.training import UNSTATED
    from ..superresolution.training import train as run
    from ..superresolution.training.images import BANDS
    from .progress import stages

    given = pairs(set_ or [], "--set")
    own: dict[str, Any] = {"mtf": mtf, "steps": steps, "features": features, "seed": seed, "device": device}
    for key in own:
        if key in given:
            raise InputError("--set", f"{key} has an option of its own", f"give --{key}")
    reading = dict(how.all)
    if "=" in bands:
        reading["bands"], bands = value_of("bands", bands, "--"), BANDS
    begun: set[str] = set()
    with stages(quiet) as show:

        def report(stage: str, done: int, total: int, /) -> None:
            begun.add(stage)
            show(stage, done, total)

        run(
            sources,
            out,
            factor=factor,
            target=target,
            bands=bands,
            name=name,
            licence=licence or UNSTATED,
            overwrite=overwrite,
            reading=reading,
            report=report,
            **given | own,
        )
    if "training" not in begun and not quiet:
        print(f"sitsfuse: {out} is there already, nothing to do", file=sys.stderr, flush=True)
    card = read_card(out)
    scores = card.metrics
    print(f"{card.name}: {', '.join(card.bands)}, factor {card.factor:g}; stopped {card.training['stopped']}")
    print(f"trained on {card.training_data}")
    print(
        f"PSNR on {scores['held_out']}: bicubic {scores['psnr_bicubic']:.2f} dB, network {scores['psnr_network']:.2f}, "
        f"with residual correction {scores['psnr_corrected']:.2f}"
    )
    print(out)
