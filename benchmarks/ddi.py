"""DDI with and without its networks, and the other methods, on all real series and on simulated scenes.

Errors are those of `sitsfuse.evaluate` where the target is clear, means over the dates that offer enough pixels.
Seconds are CPU time per date, with the study of the site and the writing of the images. Real series lie in
../shared/data beside the checkout.

    .venv/bin/python benchmarks/ddi.py --sites s2_portugal_1 --methods difference
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from sitsfuse.core.site import group, make_site
from sitsfuse.errors import InputError
from sitsfuse.evaluation import evaluate
from sitsfuse.fusion.fuse import fuse
from sitsfuse.methods.registry import method_names
from sitsfuse.readers import open_series, open_site
from sitsfuse.simulator import SITES, simulate_site

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
LEAST_SHARE = 0.3
"""Share of an image's pixels that a date must offer to count."""
REAL = (
    *((f"s2_portugal_{i}", f"target_x{r}") for r in (5, 2.5) for i in (1, 2, 3)),
    *(("s2_romania_hills", f"target_x{r}") for r in (5, 2.5)),
    ("hls_missouri_nir", "target_x5"),
    ("s2_l8_belgium", "target"),
    ("hls_viirs_saltonsea", "target"),
    ("l8_modis_ndvi", "target"),
)
VARIANTS = {
    "ddi": ("ddi", {}),
    "ddi, closed form": ("ddi", {"networks": "never"}),
    "ddi, networks always": ("ddi", {"networks": "always"}),
}


def main():
    args = parse()
    runs = dict(VARIANTS)
    for name in args.methods.split(",") if args.methods else ():
        runs[name] = name, {}
    print("| site | method | RMSE | CE90 | CE90 of NDVI | gradients | coverage | dates | CPU s |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for name, site in sites(args):
        for label, (method, options) in runs.items():
            try:
                print(measured(name, site, label, method, options), flush=True)
            except InputError as error:
                print(f"{name}: {label} skipped: {error}", file=sys.stderr)


def parse():
    others = ",".join(n for n in method_names() if not n.startswith(("carn", "ddi")))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", help="names, e.g. s2_portugal_1,arm; default: all")
    parser.add_argument("--methods", default=others, help="methods beside DDI")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the real series")
    parser.add_argument("--size", type=int, default=300, help="side of the simulated scenes, in HR pixels")
    return parser.parse_args()


def sites(args):
    """Name and site of each case."""
    wanted = None if args.sites is None else args.sites.split(",")
    for name, target in REAL:
        if (wanted is None or name in wanted) and (args.data / name).is_dir():
            yield f"{name} {target}", open_site(args.data / name, target)
    for name in SITES:
        if wanted is None or name in wanted:
            for ratio in (5.0, 2.5):
                site = simulate_site(name, size=args.size, targets=6, ratio=ratio)
                yield f"{name} ×{ratio:g}", as_one(site, f"target_x{ratio:g}")


def as_one(site, target):
    """The site with one target series under its plain name."""
    return make_site(group(site, "guide"), group(site, target), group(site, "reference"), name=site.attrs["name"])


def measured(name, site, label, method, options):
    """A line of the table."""
    reference = group(site, "reference")
    dates = [str(t)[:10] for t in group(site, "target")["time"].values]
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        fuse(site, Path(folder) / "out", method=method, options=options, dates=dates, workers=1)
        seconds = (time.process_time() - start) / len(dates)
        table = evaluate(open_series(Path(folder) / "out"), reference, group(site, "target"), max_days=2)
    table = table[table["stratum"] == "all"]
    whole = table[(table["band"] == "all") & (table["metric"] == "rmse")]
    enough = whole[whole["n_valid"] >= LEAST_SHARE * reference.sizes["y"] * reference.sizes["x"]]
    table = table[table["date"].isin(enough["date"])]

    def mean(band, metric):
        values = table[(table["band"] == band) & (table["metric"] == metric)]["value"]
        return f"{values.mean():.5f}" if len(values) else ""

    figures = " | ".join(mean(*key) for key in (("all", "rmse"), ("all", "ce90"), ("ndvi", "ce90")))
    edges = table[table["metric"] == "gradient_correlation"]["value"].mean()
    held = enough["coverage"].mean()
    return f"| {name} | {label} | {figures} | {edges:.4f} | {held:.2f} | {len(enough)} | {seconds:.2f} |"


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
