"""From a configuration to a live SDK client: processes, pipes and HTTP."""
