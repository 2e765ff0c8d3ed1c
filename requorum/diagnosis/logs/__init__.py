"""Logs that are collected, and their page."""
