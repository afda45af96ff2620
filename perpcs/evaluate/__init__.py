"""Measuring methods on held-out people.

metrics.py     one answer against the truth, and the measures of a task
intervals.py   per-user macro means with bootstrap intervals over users
protocol.py    people x methods -> answers, likelihoods, seconds -> one JSON
"""
