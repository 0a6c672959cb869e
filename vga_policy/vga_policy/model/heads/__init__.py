"""From tokens to action chunk, cameras and depth."""
