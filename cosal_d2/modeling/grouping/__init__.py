"""Regions are compared and grouped, in training and at test time: an extension of the paper."""
