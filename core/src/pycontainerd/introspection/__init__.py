"""What the daemon says of itself: version, plugins and their states, identity."""
