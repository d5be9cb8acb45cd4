"""Data Driven Interpolation: per pixel and band, a weight for every guide, learnt from the LR image of the date."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import xarray as xr
from pydantic import Field

from ...core.options import Count, Natural, NotNegative, Positive, Seed, need, settle
from ...errors import missing_extra
from ...operators.residual import residual_halo, scene_halo
from ...runtime.devices import pick_device
from .hyper import Training
from .study import DDIStudy, Options

NETWORKS = ("auto", "always", "never")


@dataclass(frozen=True)
class DDI:
    """Each pixel of the target is a linear combination of the same pixel at the guides' dates.

    The weights start at those of temporal interpolation over the valid guides. What they must become, guide by guide,
    band by band, is learnt for each date at LR: a regression of the target's details on the degraded guides, aware of
    the noise that LR pixels average away and HR pixels do not (`regression`). Then it is applied at HR, where other
    guides fill the gaps of each, and the residual ``r = C_p - P↓`` is added.

    How much the guides' noise counts is chosen once per site at HR, on guides that are left out; how far the weights
    may leave those of temporal interpolation, and whether they follow the pixel, for every date on blocks of LR pixels
    that are held out.

    The uncertainty is calibrated so that 90 % of the errors lie within 1.645 of it; errors have heavy tails, so the
    largest of them lie further out than those of a normal distribution. See `uncertainty`.

    References
    ----------
    Michel, Hagolle, Inglada, Vinasco, Assessment of spatio-temporal fusion algorithms between the Sentinel-HR and
    Sentinel-2 (NG) missions, Living Planet Symposium 2022; Michel et al., hal-03643411. Sourced from there: linear
    combination per pixel, learnt at LR for each date, residual correction, gap-filling. The regression, the networks'
    architecture, the folds and the choices are ours.
    """

    name: ClassVar[str] = "ddi"
    paper: ClassVar[str] = "Michel et al. 2022 (reconstructed)"
    min_guides: ClassVar[int] = 2

    folds: Annotated[int, Field(ge=2)] = 4
    """Folds of held-out pixels."""
    block: Count = 3
    """Side of a held-out block, in LR pixels."""
    pixels: Count = 50_000
    """Most LR pixels to learn from; larger scenes are sampled by windows."""
    strength: Annotated[float, Field(le=1, allow_inf_nan=False)] = -1.0
    """Strength of the residual correction, 0 to 1; negative: by its local size against the noise."""
    iterations: Natural = 2
    """Residual corrections; the second one tightens the match with the target."""
    networks: str = "auto"
    """auto (where guides left out and held-out pixels gain by them, and torch is there), always or never."""
    hidden: tuple[Count, ...] = (64, 64)
    """Units per hidden layer of the networks."""
    steps: Count = 300
    """Their training steps."""
    rate: Positive = 1e-2
    """Largest learning rate of their one-cycle schedule."""
    decay: NotNegative = 0.1
    """Their weight decay."""
    device: str = "auto"
    """What they run on: cpu, cuda, or auto: a GPU if torch sees one."""
    seed: Seed = 0
    """Seed of the folds, the networks and the sampling."""

    def __post_init__(self) -> None:
        settle(self)
        need(self.networks in NETWORKS, self, "networks", f"choose among {', '.join(NETWORKS)}")
        need(bool(self.hidden), self, "hidden", "give the units of one hidden layer or more")

    def halo(self, ratio: float) -> int:
        """The reach of the residual corrections."""
        return max(self.iterations, 1) * residual_halo(ratio) + scene_halo(ratio)

    def study(self, site: xr.DataTree) -> DDIStudy:
        """What depends on the guides and the LR series alone."""
        training = None if self.networks == "never" else self._training()
        options = Options(
            self.folds,
            self.block,
            self.pixels,
            self.strength,
            self.iterations,
            self.networks,
            training,
            self.seed,
        )
        return DDIStudy.of(site, options)

    def _training(self) -> Training | None:
        """How networks are trained; None where they cannot be had, and need not."""
        try:
            device = pick_device(self.device)
        except (ImportError, OSError) as error:  # torch is not there, or a library of its own is not
            if self.networks == "auto":
                return None
            raise missing_extra("torch", "PyTorch (needed by DDI's networks)") from error
        return Training(self.hidden, self.steps, self.rate, self.decay, self.seed, device)
