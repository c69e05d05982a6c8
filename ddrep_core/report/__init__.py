"""Pictures of results: contact sheets, turntables, a page that shows them."""

from ddrep_core.report.contact_sheet import contact_sheet, image_sheet, tile_image
from ddrep_core.report.page import result_page
from ddrep_core.report.renderer import Renderer
from ddrep_core.report.turntable import turntable

__all__ = ["Renderer", "contact_sheet", "image_sheet", "result_page", "tile_image", "turntable"]
