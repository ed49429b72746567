"""How right a model is: one module for each kind of task, every figure with its 95 % interval."""
