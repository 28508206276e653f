"""Many sessions: keys, leases, limits, idle closing."""
