"""The tools without any host."""
