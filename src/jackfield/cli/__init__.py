"""The command `jackfield`. See `app.py` for how a command is added."""
