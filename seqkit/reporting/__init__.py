"""What people look at: curves, matrices, tables, progress."""
