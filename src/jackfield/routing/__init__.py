"""Lets an agent pick a server, and a tool, at run time."""
