"""A study while it runs: who takes part, what they are shown, what they answered; all of it in one database."""
