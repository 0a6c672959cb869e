"""What franka-sim 1.x lacks of libfranka's protocol, by overriding its private members."""
