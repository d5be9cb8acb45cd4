"""The masks of the providers, value by value and bit by bit."""

from __future__ import annotations

from .flags import Rule

PIXEL_QUALITY = (
    Rule("nodata", bits=1 << 0),
    Rule("cloud", bits=1 << 1 | 1 << 2 | 1 << 3),  # dilated cloud, cirrus, cloud
    Rule("cloud_shadow", bits=1 << 4),
    Rule("snow", bits=1 << 5),
    Rule("water", bits=1 << 7),
)
"""What the bits of QA_PIXEL mean. Its clouds are dilated already."""


USABLE_DATA_MASK = {
    2: (Rule("snow", nonzero=True),),
    3: (Rule("cloud_shadow", nonzero=True),),
    # Haze that is light by name changes reflectances, too.
    4: (Rule("cloud", nonzero=True),),
    5: (Rule("cloud", nonzero=True),),
    6: (Rule("cloud", nonzero=True),),
    # Bit 0 black fill, from bit 2 on a band with missing or suspect data; bit 1 is an older, coarse map of clouds.
    8: (Rule("nodata", bits=0b11111101),),
}
"""What the layers of UDM2 mean (1 is what is clear, 7 how sure that is)."""


SCENE_CLASSES = (
    Rule("nodata", values=(0,)),
    Rule("saturated", values=(1,)),
    Rule("terrain_shadow", values=(2,)),
    Rule("cloud_shadow", values=(3,)),
    Rule("water", values=(6,)),
    Rule("cloud", values=(8, 9, 10)),
    Rule("snow", values=(11,)),
)
"""What the scene classification means."""
DILATION = 60.0
"""Metres by which its clouds and shadows should be widened: it follows them closely and misses their rims."""
