"""LSH attention by listing, for each query, what it sees."""

import numpy as np


def buckets(vectors, rotations, factors):
    """Buckets of vectors, one vector and one round at a time.

    Args:
        vectors: Array `(batch, length, num_heads, key_dim)`.
        rotations: Array `(num_heads, key_dim, num_hashes, directions)`.
        factors: Factors of the number of buckets.

    Returns:
        Integer array `(batch, num_heads, num_hashes, length)`.
    """
    batch, length, num_heads, _ = vectors.shape
    num_hashes = rotations.shape[2]
    result = np.zeros((batch, num_heads, num_hashes, length), int)
    for row, head, number, place in np.ndindex(result.shape):
        rotated = vectors[row, place, head] @ rotations[head, :, number]
        start, stride = 0, 1
        for factor in factors:
            part = rotated[start : start + factor // 2]
            bucket = int(np.argmax(np.concatenate([part, -part])))
            result[row, head, number, place] += stride * bucket
            start += factor // 2
            stride *= factor
    return result


def seen(
    buckets,
    *,
    chunk_length,
    chunks_before=1,
    chunks_after=0,
    wrap="row",
    padding_mask=None,
    causal=False,
    across_buckets=True,
):
    """Counts how often each query sees each position in each round.

    Args:
        buckets: Integer array `(batch, num_heads, num_hashes, length)`.
        chunk_length: Positions of a chunk.
        chunks_before: Chunks before.
        chunks_after: Chunks after.
        wrap: None, "row" or "rounds".
        padding_mask: Boolean array `(batch, length)`.
        causal: Whether later positions are hidden.
        across_buckets: Whether other buckets are seen.

    Returns:
        Integer array `(num_hashes, batch, num_heads, length, length)`, where
        a position itself counts like others.
    """
    batch, num_heads, num_hashes, length = buckets.shape
    counts = np.zeros((num_hashes, batch, num_heads, length, length), int)
    if padding_mask is None:
        padding_mask = np.ones((batch, length), bool)
    for row in range(batch):
        real = [p for p in range(length) if padding_mask[row, p]]
        unreal = [p for p in range(length) if not padding_mask[row, p]]
        for head in range(num_heads):
            rounds = []
            for number in range(num_hashes):
                own = buckets[row, head, number]
                places = sorted(real, key=lambda p: (own[p], p))
                if wrap != "row":
                    places += unreal
                rounds.append(_cut(places, chunk_length))
            ring = [
                (number, chunk)
                for number, chunks in enumerate(rounds)
                for chunk in chunks
            ]
            for number, chunks in enumerate(rounds):
                for index, chunk in enumerate(chunks):
                    shown = _window(
                        ring
                        if wrap == "rounds"
                        else [(number, other) for other in chunks],
                        index + number * len(chunks)
                        if wrap == "rounds"
                        else index,
                        chunks_before,
                        chunks_after,
                        wrap,
                    )
                    for query in chunk:
                        for other, keys in shown:
                            for key in keys:
                                same = (
                                    other == number
                                    and buckets[row, head, number, key]
                                    == buckets[row, head, number, query]
                                )
                                if key != query and (
                                    (causal and key > query)
                                    or not padding_mask[row, key]
                                    or not (same or across_buckets)
                                ):
                                    continue
                                counts[number, row, head, query, key] += 1
    return counts


def attend(query_key, value, counts, logit_scale=1.0):
    """Softmax over all that is seen, one query at a time, in float64.

    Args:
        query_key: Array `(batch, length, num_heads, key_dim)`.
        value: Array `(batch, length, num_heads, value_dim)`.
        counts: How often a query sees each position, array `(batch,
            num_heads, length, length)`.
        logit_scale: Factor of the logits.

    Returns:
        Array like `value`.
    """
    batch, length, num_heads, _ = query_key.shape
    outputs = np.zeros((batch, length, num_heads, value.shape[-1]))
    for row, head, place in np.ndindex(batch, num_heads, length):
        own = query_key[row, :, head].astype("float64")
        root = np.sqrt(np.mean(own**2, axis=-1, keepdims=True) + 1e-6)
        keys = own / root / np.sqrt(own.shape[-1])
        logits = logit_scale * keys @ own[place]
        count = counts[row, head, place].copy()
        if count.sum() > count[place]:
            count[place] = 0
        if not count.sum():
            continue
        weights = count * np.exp(logits - logits[count > 0].max())
        outputs[row, place, head] = (
            weights / weights.sum() @ value[row, :, head]
        )
    return outputs


def reference_share(counts):
    """What the references' arithmetic makes of weights that sum to one.

    Args:
        counts: As `seen` returns them.

    Returns:
        Float32 array `(batch, length, num_heads)`, 1 but where a query sees
        nothing except itself.
    """
    _, batch, num_heads, length, _ = counts.shape
    shares = np.ones((batch, length, num_heads), "float32")
    for row, head, place in np.ndindex(batch, num_heads, length):
        mine = counts[:, row, head, place]
        own = mine[:, place]
        if mine.sum() > own.sum():
            continue
        logit = np.float32(-1e5)
        sums = [logit + np.log(np.float32(count)) for count in own]
        joint = max(sums) + np.log(
            np.sum([np.exp(x - max(sums)) for x in sums], dtype="float32")
        )
        shares[row, place, head] = sum(
            np.exp(x - joint) * count * np.exp(logit - x)
            for x, count in zip(sums, own, strict=True)
        )
    return shares


def _cut(places, size):
    return [places[i : i + size] for i in range(0, len(places), size)]


def _window(chunks, index, before, after, wrap):
    numbers = list(range(index - before, index + after + 1))
    if wrap == "rounds":
        # What is as far away as the ring is long is the chunk itself there.
        numbers = [
            n if abs(n - index) < len(chunks) else index for n in numbers
        ]
    if wrap is None:
        numbers = [n for n in numbers if 0 <= n < len(chunks)]
    else:
        numbers = [n % len(chunks) for n in numbers]
        if wrap == "row":
            numbers = sorted(set(numbers))
    return [chunks[n] for n in numbers]
