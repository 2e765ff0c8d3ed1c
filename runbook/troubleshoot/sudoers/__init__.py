"""May the login run what the runbook needs? Collected only when it is named."""
