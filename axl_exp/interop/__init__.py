"""The command that brings weights in from other tools, and out to them."""
