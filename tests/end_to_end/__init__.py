"""Whole runs as users start them: the real commands in separate processes, killed and stopped, too."""
