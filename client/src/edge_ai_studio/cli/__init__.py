"""The command line, `edgeai`."""
