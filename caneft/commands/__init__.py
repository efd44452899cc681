"""Commands on finished results folders: what stands behind a number, and how two folders differ."""
