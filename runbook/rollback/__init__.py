"""Going back to what was before a run: collected only when it is named."""
