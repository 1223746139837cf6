"""Checking, repairing, merging, splitting and describing datasets."""
