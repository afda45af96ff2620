"""Measuring methods on held-out people.

metrics.py     one answer against the truth, the measures of a task, means over people with bootstrap intervals
held_out.py    the held-out loss of one assembled person
protocol.py    people x methods -> answers, likelihoods, seconds -> one JSON
experiment.py  what an experiment is, and the stamp of a result; experiments/ holds one file each
command.py     the command that runs experiments
findings.py    results of experiments, read back for the page that shows them
"""
