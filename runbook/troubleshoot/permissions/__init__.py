"""Files that the etcd account cannot use. Collected only when it is named."""
