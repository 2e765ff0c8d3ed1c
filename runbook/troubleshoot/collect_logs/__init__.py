"""Everything that people will ask for, from all hosts, in one archive."""
