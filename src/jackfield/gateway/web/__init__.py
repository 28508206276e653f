"""The gateway's page: what it does, for a person in a browser."""
