"""The demo: a year of New York flights through the whole of lakescore."""
