"""Several instances of one gateway, which share a store."""
