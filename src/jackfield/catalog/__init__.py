"""What servers offer, remembered on disk and searchable, so that nothing has to be opened to look."""
