"""What happens around a step: what the screen says of a run, and what one machine has room for."""
