"""How the super-resolution models that come with the package were made, from simulated scenes alone.

    python examples/shipped_model.py src/sitsfuse/superresolution/models

takes about half an hour on two cores. Interrupted, it goes on where it was.
"""

import sys
from pathlib import Path

import xarray as xr

import sitsfuse

PIXELS = (3.0, 4.0, 5.0, 5.0, 6.0, 8.0, 5.0, 10.0, 4.0, 6.0)
"""HR pixel sizes of the scenes in metres: fields of many sizes."""
FACTORS = (5.0, 2.5)
LICENCE = "Apache-2.0"


def scenes() -> list[xr.DataTree]:
    """Clear scenes of ten places, each on eight days through the year."""
    return [
        sitsfuse.simulate(
            size=512,
            pixel=pixel,
            seed=9000 + i,
            guides=8,
            guide_revisit=35,
            targets=1,
            cloud_cover=0.02,
            missed_clouds=0.0,
            guide_noise=0.001,
            guide_shift=0.0,
        )
        for i, pixel in enumerate(PIXELS)
    ]


def main(folder: Path) -> None:
    """Train a model per factor."""
    sites = scenes()
    for factor in FACTORS:
        name = f"carn-simulated-x{factor:g}"
        sitsfuse.train(sites, folder / name, factor=factor, licence=LICENCE, features=40, steps=4000, device="cpu")
        print(folder / name, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
