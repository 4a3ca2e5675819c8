"""Operators that DAGs import."""
