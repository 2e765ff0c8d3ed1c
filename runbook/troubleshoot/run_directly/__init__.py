"""One member's etcd without its unit, for a while. Collected only when it is named."""
