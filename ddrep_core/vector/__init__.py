"""Vector graphics: SVG files in and out, and a differentiable renderer with exact area coverage."""

from ddrep_core.vector.drawing import Drawing
from ddrep_core.vector.reader import parse_svg, read_svg

__all__ = ["Drawing", "parse_svg", "read_svg"]
