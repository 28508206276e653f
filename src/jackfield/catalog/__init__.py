"""What servers offer, stored on disk and searchable without opening a server."""
