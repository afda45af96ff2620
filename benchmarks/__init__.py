"""Speed and scale, one command each; every result is results/speed/NAME.json (answers: results/quality).

common.py     what every result says of itself: versions, machine, settings
assembly.py   seconds to assemble a person, bytes to keep one, throughput of a batch of different people
startup.py    seconds from the start command to the first useful page, in a real browser
"""
