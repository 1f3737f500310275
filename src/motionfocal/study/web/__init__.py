"""The pages of a study: for those who vote, and for those who run it."""
