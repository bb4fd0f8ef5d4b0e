"""Self-contained HTML pages: shell, charts, strips. Text from files is data: escaped, never run."""
