"""One module a make target; each has `run() -> int`."""
