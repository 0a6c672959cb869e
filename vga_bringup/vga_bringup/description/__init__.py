"""What the robot looks like: its URDF with its cameras, and where its frames are for measured joints."""
