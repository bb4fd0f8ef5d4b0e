"""What our trainer costs, measured side by side with the same thing done by hand."""
