"""The addresses, by resource. Each asks a service; none decides."""
