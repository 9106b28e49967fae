"""A news site hour by hour: learn from all before the hour, answer the hour's sessions, count what was found."""
