"""Code that is generated from what a server lists; see `../generate.py`."""
