"""etcd's debug logging, on and off again. Collected only when it is named."""
