"""Many MCP servers as one, for any host program: what `jackfield serve` runs."""
