"""A list of models as REST framework has it by itself: the measure of the studio's own. For benchmarks/api.py alone."""
