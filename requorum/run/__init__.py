"""One run: its words, what it knows, what a stage may do."""
