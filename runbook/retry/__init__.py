"""Another try at Steps 4 and 5: collected only when it is named."""
