"""Preparation of corpora: from their owners' images and videos to aligned faces with labels, and a report."""
