"""What votes add up to, and how sure that is."""
