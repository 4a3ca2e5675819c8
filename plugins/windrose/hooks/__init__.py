"""Hooks that DAGs import."""
