"""From pixels to tokens: VGGT's aggregator, and the image encoders that take its place."""
