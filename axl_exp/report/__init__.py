"""Rendering of tables, numbers and text for people. Import the module that you need."""
