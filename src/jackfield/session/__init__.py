"""One live session: the task that owns it and the object its users call."""
