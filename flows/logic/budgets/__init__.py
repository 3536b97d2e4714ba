"""Budgets: what was spent of them by period, and the pauses and resumes that follow."""
