"""The recovery as the operator reads and runs it: one module a step, in order."""
