"""Device templates: the catalogue file, what staff made of it, and what every workspace gets."""
