"""Files that a stranger might upload to do harm, made by code, and what each of them ends in."""
