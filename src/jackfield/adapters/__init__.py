"""One file a framework: thin dresses over `Toolkit`, imported only when used."""
