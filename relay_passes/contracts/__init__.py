"""What passes require of the module that they are given, and ensure of the one they return."""
