"""What lies across or upon the land: winding lines, ragged discs, hamlets with their houses, patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...core.arrays import AnyFloats, FloatArray
from ..noise import stream
from .covers import COVER
from .parcels import BEND, IntArray


@dataclass(frozen=True, eq=False)
class Curve:
    """A winding line across the land: ``v = offset + Σ amplitude sin(u / wave + phase)`` in a rotated frame."""

    angle: float
    """Direction of u."""
    offset: float
    """Distance from the origin, in metres."""
    amplitude: FloatArray
    """Of each bend, in metres."""
    wave: FloatArray
    """Length of each bend over 2π, in metres."""
    phase: FloatArray
    """Of each bend."""
    width: float
    """Width of the line, in metres."""

    def distance(self, x: AnyFloats, y: AnyFloats) -> FloatArray:
        """Distance in metres, to first order."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        u, v = (cos * x + sin * y).astype(np.float32), (-sin * x + cos * y).astype(np.float32)
        line = np.full_like(u, self.offset)
        slope = np.zeros_like(u)
        for a, w, p in zip(self.amplitude, self.wave, self.phase, strict=True):
            line += a * np.sin(u / w + p)
            slope += a / w * np.cos(u / w + p)
        return np.asarray(np.abs(v - line) / np.sqrt(1 + slope**2), np.float32)


def draw_curves(
    seed: int, name: str, extent: float, spacing: float, swing: float, width: tuple[float, float]
) -> list[Curve]:
    """Lines that cross the scene, one per ``spacing`` metres of its side and at least one, of a range of widths."""
    rng = stream(seed, name)
    curves = []
    for _ in range(max(1, round(extent / spacing))):
        angle = rng.uniform(0, np.pi)
        through = rng.uniform(0.15, 0.85, 2) * extent
        offset = float(-np.sin(angle) * through[0] + np.cos(angle) * through[1])
        wave = np.array([900.0, 380.0, 150.0], np.float32) * rng.uniform(0.8, 1.2, 3).astype(np.float32)
        amplitude = swing * np.array([1.0, 0.35, 0.1], np.float32) * rng.uniform(0.5, 1.2, 3).astype(np.float32)
        wide = rng.uniform(*width)
        curves.append(Curve(angle, offset, amplitude, wave, rng.uniform(0, 6.3, 3).astype(np.float32), wide))
    return curves


def draw_ponds(seed: int, extent: float, area: float = 6e6, radius: tuple[float, float] = (20, 90)) -> AnyFloats:
    """(pond, 3) x, y and radius in metres: one and, on average, one more per ``area`` square metres."""
    rng = stream(seed, "ponds")
    n = 1 + rng.poisson(extent**2 / area)
    return np.column_stack([rng.uniform(0, extent, (n, 2)), rng.uniform(*radius, n)])


def draw_hamlets(seed: int, extent: float) -> tuple[AnyFloats, AnyFloats]:
    """(hamlet, 3) x, y and radius, and (house, 2) x and y, in metres."""
    rng = stream(seed, "hamlets")
    n = 1 + rng.poisson(extent**2 / 2.2e6)
    centre, radius = rng.uniform(0, extent, (n, 2)), rng.uniform(45, 150, n)
    counts = np.maximum(3, rng.poisson((radius / 16) ** 1.6))
    owner = np.repeat(np.arange(n), counts)
    r, a = np.sqrt(rng.random(owner.size)) * radius[owner] * 0.95, rng.uniform(0, 2 * np.pi, owner.size)
    houses = centre[owner] + np.column_stack([r * np.cos(a), r * np.sin(a)])
    return np.column_stack([centre, radius]), houses


def inside(discs: AnyFloats, x: FloatArray, y: FloatArray, pixel: float) -> npt.NDArray[np.bool_]:
    """Whether each position lies in one of the ragged discs; only the pixels around a disc are looked at."""
    out = np.zeros(x.shape, bool)
    top, bottom = y.min(), y.max()
    for cx, cy, radius in discs:
        reach = 1.25 * radius + BEND
        if cy + reach < top or cy - reach > bottom:
            continue
        cols = slice(max(0, int((cx - reach) / pixel)), max(0, int((cx + reach) / pixel) + 1))
        dx, dy = x[:, cols] - cx, y[:, cols] - cy
        angle = np.arctan2(dy, dx)
        ragged = 1 + 0.12 * np.sin(2 * angle + cx) + 0.08 * np.sin(3 * angle + cy) + 0.05 * np.sin(7 * angle + radius)
        out[:, cols] |= dx**2 + dy**2 < (radius * ragged) ** 2
    return out


def build_houses(
    seed: int, unit: IntArray, cover: npt.NDArray[np.uint8], houses: AnyFloats, pixel: float
) -> tuple[npt.NDArray[np.uint8], AnyFloats]:
    """Paint the roofs into ``unit``; returns the covers with theirs appended, and the houses' positions."""
    rng = stream(seed, "houses")
    kinds = rng.choice([COVER["tile roof"], COVER["grey roof"], COVER["metal roof"]], len(houses), p=[0.72, 0.2, 0.08])
    sides = rng.uniform(9, 19, (len(houses), 2)) * np.where(kinds == COVER["metal roof"], 1.7, 1.0)[:, None]
    angles = rng.uniform(0, np.pi, len(houses))
    size = unit.shape[0]
    for n, ((x, y), (a, b), angle) in enumerate(zip(houses, sides, angles, strict=True)):
        reach = float(np.hypot(a, b)) / 2
        rows = np.arange(max(0, int((y - reach) / pixel)), min(size, int((y + reach) / pixel) + 1))
        cols = np.arange(max(0, int((x - reach) / pixel)), min(size, int((x + reach) / pixel) + 1))
        if not rows.size or not cols.size:
            continue
        dy, dx = (rows[:, None] + 0.5) * pixel - y, (cols[None, :] + 0.5) * pixel - x
        cos, sin = np.cos(angle), np.sin(angle)
        roof = (np.abs(cos * dx + sin * dy) <= a / 2) & (np.abs(-sin * dx + cos * dy) <= b / 2)
        unit[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1][roof] = cover.size + n
    return np.concatenate([cover, kinds.astype(np.uint8)]), houses


def draw_patches(seed: int, name: str, extent: float, spacing: float) -> FloatArray:
    """(patch, 2) x and y of the centres of patches about ``spacing`` metres wide, with a margin around the scene."""
    n = int(np.ceil(extent / spacing)) + 3
    grid = np.stack(np.meshgrid(np.arange(n), np.arange(n)), -1).reshape(-1, 2) - 1.0
    centre = (grid + stream(seed, name).uniform(-0.45, 0.45, grid.shape)) * spacing
    return centre.astype(np.float32)
