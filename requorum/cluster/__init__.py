"""etcd and Deephaven as they are."""
