"""Tasks: their records, their queue, and the runs that take them to their end."""
