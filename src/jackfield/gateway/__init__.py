"""The gateway of `jackfield serve`: many MCP servers as one, for any host program."""
