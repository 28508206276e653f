"""One adapter per framework: thin wrappers around `Toolkit`, imported only when used."""
