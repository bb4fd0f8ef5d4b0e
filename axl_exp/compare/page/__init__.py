"""A comparison as one HTML file: `render_comparisons`."""

from axl_exp.compare.page.render import render_comparisons

__all__ = ["render_comparisons"]
