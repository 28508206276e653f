"""Which servers there are and how to reach them; knows nothing of sessions."""
