"""Which servers exist and how to reach them; independent of sessions."""
