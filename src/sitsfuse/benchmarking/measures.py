"""What a benchmark measures: its metrics, their names and units, and which is better, high or low."""

from __future__ import annotations

from dataclasses import dataclass

HIGHER = frozenset(("psnr", "uiqi", "structural", "gradient_correlation", "frr"))
"""Metrics of which more is better; of all others less is."""
NAMES = {
    "rmse": "RMSE",
    "mae": "MAE",
    "bias": "Bias",
    "ce90": "CE90",
    "ce99": "CE99",
    "psnr": "PSNR",
    "uiqi": "UIQI",
    "sam": "SAM",
    "ergas": "ERGAS",
    "structural": "Structure",
    "gradient_correlation": "Gradient correlation",
    "lr_consistency": "LR consistency",
    "frr": "FRR",
    "fro": "FRO",
    "fru": "FRU",
}
"""What metrics are called."""
UNITS = {"sam": "°", "psnr": "dB", "frr": "%", "fro": "%", "fru": "%"}
"""Units of metrics that are not of what is compared."""
OF_VALUES = frozenset(("rmse", "mae", "bias", "ce90", "ce99", "lr_consistency", "sharpness", "psnr", "ergas"))
"""Metrics that depend on what is compared: those of reflectance and those of an index are no numbers of one kind."""


@dataclass(frozen=True)
class Measure:
    """What methods are compared by."""

    metric: str
    band: str
    stratum: str = "all"

    @property
    def key(self) -> tuple[str, str, str]:
        """Metric, band, stratum."""
        return self.metric, self.band, self.stratum

    @property
    def higher(self) -> bool:
        """Whether more is better."""
        return self.metric in HIGHER

    @property
    def unit(self) -> str:
        """``reflectance``, ``NDVI``, ``°`` …, or a dash."""
        if self.metric in UNITS:
            return UNITS[self.metric]
        if self.metric not in OF_VALUES or self.metric == "ergas":
            return "–"
        return "NDVI" if self.band == "ndvi" else "reflectance"

    @property
    def label(self) -> str:
        """In words, e.g. ``CE90 NDVI`` or ``Structure (red)``."""
        parts = [NAMES.get(self.metric, self.metric), {"all": "", "ndvi": "NDVI"}.get(self.band, f"({self.band})")]
        parts += ["" if self.stratum == "all" else f"{self.stratum} gradient"]
        return " ".join(p for p in parts if p)


RMSE, NDVI, EDGES = Measure("rmse", "all"), Measure("ce90", "ndvi"), Measure("structural", "red")
"""Radiometry over all bands, and the two that the Sentinel-HR study compares by: radiometry and edges."""
HEADLINE = (RMSE, NDVI, Measure("sam", "all"), EDGES, Measure("gradient_correlation", "red"))
