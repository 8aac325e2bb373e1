"""Why there is no backup, or why it was not restored."""


class BackupRefused(Exception):
    """Nothing was done, because something would have been lost by it. The message says what to do."""
