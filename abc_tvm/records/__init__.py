"""What tuning leaves in a folder, and how a compilation reads it."""
