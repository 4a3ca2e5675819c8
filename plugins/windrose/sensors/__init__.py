"""Sensors that DAGs import."""
