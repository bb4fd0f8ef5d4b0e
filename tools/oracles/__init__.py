"""What other libraries compute, recorded, so that the tests compare without installing them."""
