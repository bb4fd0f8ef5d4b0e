"""A small compiled program in XLA's words, by hand: what it does can be counted on fingers."""

from __future__ import annotations

from pathlib import Path

# Eight partitions; a loop of 3 turns gathers a weight, multiplies, and scatters a sum.
LOOP = Path(__file__).with_name("loop.hlo").read_text()
