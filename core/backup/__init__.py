"""Backups: a folder with all records and files of an installation, and the way back into an empty one."""

from core.backup.errors import BackupRefused
from core.backup.folder import BackupFacts, back_up, restore

__all__ = ["BackupFacts", "BackupRefused", "back_up", "restore"]
