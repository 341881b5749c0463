"""Operations and settings for CPUs only: convolutions as matrix products, Winograd's method, compiler options."""
