"""Trees as arrays, whoever fitted them, and the fast way to score them."""
