"""What helps when the recovery does not go smoothly: procedures of their own, each collected only when it is named."""
