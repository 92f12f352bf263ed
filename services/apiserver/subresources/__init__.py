"""What stands below an object: status and scale are parts of it, the others do something with it."""
