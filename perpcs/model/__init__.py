"""Base models and the shared-basis layer.

basis.py       the layer: many people's low-rank updates in one batch, as an argument of a call
base.py        loading any Hugging Face causal LM, finding and wrapping its positions
text.py        prompts and answers to token ids, with the range of the target tokens
likelihood.py  negative log-likelihood of targets, probabilities of labels
decode.py      batched decoding, one snapshot a token
train_base.py  a small base model from scratch
"""
