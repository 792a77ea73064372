"""<task-progress>, in a real browser."""
