"""What is wrong, by likelihood, and what to do next."""
