"""Tools with which an agent chooses a server and a tool at run time."""
