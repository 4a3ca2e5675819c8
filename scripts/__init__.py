"""What `make` runs on the host: `python -m scripts <command>`, one module a command in `commands/`."""
