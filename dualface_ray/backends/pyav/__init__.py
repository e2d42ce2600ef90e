"""Pyav."""
