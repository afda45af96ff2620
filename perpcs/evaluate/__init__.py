"""Measuring methods on held-out people.

metrics.py     one answer against the truth, the measures of a task, means over people with bootstrap intervals
protocol.py    people x methods -> answers, likelihoods, seconds -> one JSON; the held-out loss of one assembled person
experiments/   what an experiment is, the stamp of a result, and one file for each
findings.py    stored evaluations and results of experiments, read back for the pages that show them
"""
