"""Recorded episodes as training samples: observations, action chunks, ground-truth geometry and their statistics."""
