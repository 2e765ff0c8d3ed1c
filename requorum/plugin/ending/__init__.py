"""The last lines of a run: what is so, what failed and why, what to do first, how to go on and back."""
