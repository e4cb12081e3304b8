"""What both readers of the checker say of something that they do not know."""


class NotChecked(Exception):
    """Something that the checker does not know; the message says what."""
