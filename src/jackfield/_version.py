"""The version of this package, for everything that tells it; `pyproject.toml` has the same."""

__version__ = "0.2.0"
