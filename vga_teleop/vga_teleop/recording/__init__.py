"""Recording episodes: one MCAP rosbag2 directory each, written without rclpy."""
