"""Images: names for content."""
