"""Tasks with real data that ships with scikit-learn: each trains its variants and writes a folder to register."""
