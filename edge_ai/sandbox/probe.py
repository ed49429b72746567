from edge_ai.sandbox.levels import Level
def best_level() -> Level: return Level.STRONG
