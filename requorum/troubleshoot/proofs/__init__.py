"""What must hold while work on single members goes on."""
