"""Detection, landmarks, alignment, video."""
