"""What happens to a deployed stack, one kind of cause to a module; `table` has them all."""
