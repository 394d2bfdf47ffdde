"""Certificates: upper bounds of the robust loss and lower bounds of the worst-case margin."""
