"""Work on single members."""
