"""A person's weights in bytes: one byte a weight, and one half float for all of them.

    w_ps = step * q_ps      q in 0..255, or in -127..127 where some weight is below 0;   step = max |w| / 255 or / 127

Zero stays zero, so a piece that was not chosen costs nothing at answering. Weights are rounded when a person is
assembled, so whatever is measured, shown, saved or exported is what a byte a weight gives back.
"""

import numpy as np

_STEP = np.dtype("<f2")


def rounded(weights: np.ndarray) -> np.ndarray:
    """The weights (P, S) as a byte each gives them back, float32."""
    return unpack_weights(pack_weights(weights), weights.shape)


def pack_weights(weights: np.ndarray) -> bytes:
    """Weights (P, S) in ``quantised_size`` bytes: the step, below 0 where weights are, and then a byte each."""
    signed = bool((weights < 0).any())
    most = 127 if signed else 255
    step = _STEP.type(np.abs(weights).max(initial=0) / most)
    if step == 0:  # nothing, or less than a half float can tell from nothing
        return _STEP.type(0).tobytes() + bytes(weights.size)
    units = np.rint(weights / np.float32(step)).clip(-most if signed else 0, most)
    return _STEP.type(-step if signed else step).tobytes() + units.astype(np.int8 if signed else np.uint8).tobytes()


def unpack_weights(raw: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Weights that ``pack_weights`` packed, float32."""
    step = np.frombuffer(raw, _STEP, count=1)[0]
    units = np.frombuffer(raw, np.int8 if step < 0 else np.uint8, offset=_STEP.itemsize)
    return np.abs(np.float32(step)) * units.reshape(shape).astype(np.float32)


def quantised_size(weights: int) -> int:
    """Bytes that so many weights take."""
    return _STEP.itemsize + weights
