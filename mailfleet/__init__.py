"""mailfleet: fleets of mail servers as code."""
