"""The LIBERO benchmark."""
