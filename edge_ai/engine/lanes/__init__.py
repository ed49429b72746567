"""Making variants, one module a target format: ``ways(context)`` yields what is worth trying, the most promising first."""
