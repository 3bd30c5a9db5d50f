"""The commands; bin/ holds only thin starters that call into here."""
