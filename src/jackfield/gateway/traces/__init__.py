"""Recorded traffic between a client and a server: written by `recording`, served again by `replay`."""
