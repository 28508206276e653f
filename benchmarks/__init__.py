"""What Jackfield costs, beside the raw SDK and what else can be installed: `make bench`."""
