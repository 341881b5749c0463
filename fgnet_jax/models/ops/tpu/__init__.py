"""What exists for TPUs alone."""
