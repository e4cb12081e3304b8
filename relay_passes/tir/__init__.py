"""Passes on functions of loops."""
