"""The cell file: what a robot cell is made of and what it may do. Neither torch nor rclpy is imported."""
