"""Training as users run it: the real command in processes of its own, killed and stopped too."""
