"""The database backend: django-tenants' schemas with the row-level-security identity beneath them."""
