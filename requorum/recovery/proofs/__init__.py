"""What must hold while a cluster is rebuilt."""
