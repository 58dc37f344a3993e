"""Promotion of a model from one deployment to another: what is promoted, and the tests that it has to pass where it serves."""
