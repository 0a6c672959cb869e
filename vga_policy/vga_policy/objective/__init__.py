"""What is learned: losses, and which weights move."""
