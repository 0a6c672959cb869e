"""Episodes on disk: rosbag2 bags in MCAP, written and read without rclpy and without torch."""
