"""What pages are made of, one module for each aggregate."""
