"""What helps in trouble, a procedure in each directory: collected only when that one is named."""
