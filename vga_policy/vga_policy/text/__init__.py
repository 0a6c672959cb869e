"""Text encoders: an instruction becomes one vector."""
