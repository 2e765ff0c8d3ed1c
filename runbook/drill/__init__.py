"""The drill: a real backup restored into the lab. Collected only when it is named."""
