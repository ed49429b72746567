"""Django database backend; the ENGINE setting names this package."""
