"""One module a format: reading, describing, running."""
