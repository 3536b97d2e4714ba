"""SQL with blanks to fill in; each file says what they are."""
