"""Gives pytest the runbook's front door. Only here may `pytest_plugins` stand; all it does is in that module."""

pytest_plugins = ("requorum.plugin.hooks",)
