"""Engines that a compiled network is compared with, and whether they compute the same."""
