"""The best mesh, remat policy and accumulation for a config on a hardware."""
