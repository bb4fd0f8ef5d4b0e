"""What a branch does to memory, communication and predicted step time, on every hardware."""
