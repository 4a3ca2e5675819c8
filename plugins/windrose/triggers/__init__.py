"""Triggers that DAGs import."""
