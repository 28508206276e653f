"""OAuth for servers: signing in, storing the tokens, and using them in sessions."""
